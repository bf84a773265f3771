#!/bin/bash
# Builds a real Kubernetes 1.20 control plane from Debian 12's source package, and takes etcd out of Debian's own.
#
#   build_control_plane.sh [FOLDER]     default: ${XDG_CACHE_HOME:-~/.cache}/kfp-image-tuning/kubernetes/bin
#
# Leaves etcd, kube-apiserver, kube-controller-manager and kube-scheduler in FOLDER; does nothing when they are there.
# Nothing is installed on the system. 125 MB are downloaded, and it takes 4 to 10 minutes on two cores, once.
# Wants Debian 12 with apt-get, its archive's keys, and 5 GB of disk space while it builds.
set -euo pipefail
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/kfp-image-tuning/kubernetes/bin}
binaries=(etcd kube-apiserver kube-controller-manager kube-scheduler)
is_complete() { for name in "${binaries[@]}"; do [ -x "$folder/$name" ] || return 1; done; }
is_complete && exit 0

say() { echo "[${SECONDS} s] $*"; }
keys=/usr/share/keyrings/debian-archive-keyring.gpg
if ! command -v apt-get > /dev/null || [ ! -e "$keys" ]; then
  echo "The control plane is built from Debian 12's source packages, and this is no Debian. Set KUBERNETES_BIN to a" >&2
  echo "folder with ${binaries[*]} (1.20 to 1.23), or KUBECONFIG to a test cluster such as kind." >&2
  exit 1
fi

mkdir -p "$(dirname "$folder")"
work=$(mktemp -d "$(dirname "$folder")/build.XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
say "Building a Kubernetes control plane into $folder: 4 to 10 minutes on two cores, once"

# Source packages are not in apt's usual lists: lists of our own, from the archive that apt is set up for.
uri=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 2> /dev/null \
  | awk '$2 == "bookworm" && $3 == "main" && $1 ~ /debian/ { print $1; exit }') || true
mkdir -p "$work"/{apt/lists/partial,apt/cache/archives/partial,deb,root,src,gopath/src/k8s.io,gocache,bin}
printf 'Types: deb deb-src\nURIs: %s\nSuites: bookworm\nComponents: main\nSigned-By: %s\n' \
  "${uri:-http://deb.debian.org/debian}" "$keys" > "$work/apt/bookworm.sources"
apt=(-qq -o "Dir::Etc::sourcelist=$work/apt/bookworm.sources" -o Dir::Etc::sourceparts=/dev/null
     -o "Dir::State::lists=$work/apt/lists" -o "Dir::Cache=$work/apt/cache" -o APT::Sandbox::User=root
     -o Acquire::Retries=3)
apt-get "${apt[@]}" update
cd "$work/deb"
apt-get "${apt[@]}" download golang-1.19-go golang-1.19-src golang-github-modern-go-reflect2-dev etcd-server
apt-get "${apt[@]}" source --download-only kubernetes
say "downloaded $(du -sh . | cut -f1)"
for deb in *.deb; do dpkg -x "$deb" ../root; done
tar xzf kubernetes_*.orig.tar.gz -C ../src --strip-components=1

cd "$work"
# The vendored reflect2 1.0.1 crashes under Go 1.18 and newer on the first custom resource; Debian's 1.0.2 does not.
rm -rf src/vendor/github.com/modern-go/reflect2
cp -a root/usr/share/gocode/src/github.com/modern-go/reflect2 src/vendor/github.com/modern-go/
rm -f src/vendor/github.com/modern-go/reflect2/*_test.go
ln -sfn "$work/src" gopath/src/k8s.io/kubernetes
export GOROOT=$work/root/usr/lib/go-1.19 GOPATH=$work/gopath GOCACHE=$work/gocache GO111MODULE=off GOPROXY=off \
       CGO_ENABLED=0 GOFLAGS= PATH=$work/root/usr/lib/go-1.19/bin:$PATH
cd gopath/src/k8s.io/kubernetes
# The source package lacks the generated OpenAPI definitions; the vendored generator makes them.
go build -o "$work/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
packages=$(grep -rl --include='*.go' '+k8s:openapi-gen=' pkg cmd plugin staging/src/k8s.io \
  | grep -vE 'zz_generated|_test.go|staging/src/k8s.io/(code-generator|sample-apiserver)|/testdata/' \
  | xargs -n1 dirname | sed 's#^staging/src/#vendor/#' | LC_ALL=C sort -u | sed 's#^#k8s.io/kubernetes/#' | paste -sd,)
"$work/openapi-gen" -i "$packages" -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi \
  -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt -r /dev/null
say "compiling: the long part"
flags="-s -w"
for package in component-base/version client-go/pkg/version; do
  for pair in gitVersion=v1.20.2 gitMajor=1 gitMinor=20 gitTreeState=clean; do
    flags="$flags -X k8s.io/kubernetes/vendor/k8s.io/$package.$pair"
  done
done
go build -tags providerless -ldflags "$flags" -o "$work/bin/" \
  ./cmd/kube-apiserver ./cmd/kube-controller-manager ./cmd/kube-scheduler
cp "$work/root/usr/bin/etcd" "$work/bin/"
rm -rf "$folder"
mv "$work/bin" "$folder"
say "done"
