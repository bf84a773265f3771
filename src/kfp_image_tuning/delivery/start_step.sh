# What a step's pod knows before it runs the step: how to install packages, and how to fail in words.
# Pods source it out of the archive of this package; a pipeline that is compiled with --package carries it.
fail() {
  rule='==============================================================================='
  printf '%s\n' "$rule" 'kfp-image-tuning: ERROR delivery' "$1" "$rule" >&2
  if [ -w /dev/termination-log ]; then echo "delivery: $1" >/dev/termination-log; fi
  exit 1
}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_BREAK_SYSTEM_PACKAGES=1
log="$scratch/pip.log"
# pip tells first why it tries again, which is the cause, and last what it did not get.
install() {
  python3 -m pip install --quiet --no-warn-script-location "$@" 2>"$log" && return
  cat "$log" >&2
  fail "$(grep ^WARNING "$log" | tail -n 1; { grep -i ^error "$log" || cat "$log"; } | tail -n 1)
The packages of this step could not be installed. Where pods reach no package index, compile the pipeline with kfp-image-tuning compile --index-url (a mirror) or --image (an image that holds them)."
}
