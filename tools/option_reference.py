"""``docs/reference.md``, made from the declared options, the parser and the classes of the engines' own options.

``python -m tools.option_reference`` writes it.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from kfp_image_tuning.cli.command_line import PROGRAM, build_parser
from kfp_image_tuning.options import declared
from kfp_image_tuning.options.declaration import Option, Options, options_of
from kfp_image_tuning.options.pipelines import ENGINES, OWN_OPTIONS, PIPELINES, SEARCH
from kfp_image_tuning.options.words import capitalized, describe, format_parameter, type_words
from tools.reference import DOCS, KATIB, SAGEMAKER

PAGE = DOCS / "reference.md"
_START = """\
# Reference

<!-- Made from the declared options by `make generate`. -->

All options of the command line, of the pipelines and of the engines. An option has one name: `--max-trials` on the
command line is `max_trials` of a component and `tune_max_trials` of a pipeline, whose parameters begin with the step
that takes them. On the command line seconds may also be written as `10m` or `2h`, fractions as `97%`, and objects as
JSON or as a JSON or YAML file.
"""
_COMMANDS: Mapping[type[Options], str] = {
    declared.ImageOptions: "`run`, `plan`, `prepare`",
    **dict.fromkeys(SEARCH, "`run`, `plan`"),
    declared.GateOptions: "`run`, `evaluate`",
    **dict.fromkeys((kind for kinds in OWN_OPTIONS.values() for kind in kinds), "`run`, `plan`"),
}
"""The commands that have a class of options."""


def page_text() -> str:
    """The page."""
    kinds = dict.fromkeys([*(kind for engine in ENGINES for kind in PIPELINES[engine]), *_COMMANDS])
    parts = [_START, "## Options of a run", ""]
    for kind in kinds:
        parts += _section(kind)
    parts += ["## Other options of the commands", ""]
    commands = {name: _own_actions(name, parser) for name, parser in _commands().items()}
    # A help of its own does not make -h another option; what few have alike is told of each.
    counts = Counter(_flags(action) for actions in commands.values() for action in actions)
    usual = {flags for flags, count in counts.items() if count > len(commands) / 2 and "`--output`" not in flags}
    first = next(iter(commands.values()))
    parts += _table("Most commands", [action for action in first if _flags(action) in usual])
    for name, actions in commands.items():
        parts += _table(f"`{PROGRAM} {name}`", [action for action in actions if _flags(action) not in usual])
    parts += ["## Fields of `--katib-options` and `tune_katib_options`", "", KATIB.tables()]
    parts += ["## Fields of `--sagemaker-options` and `tune_sagemaker_options`", "", SAGEMAKER.tables()]
    return "\n".join(parts).rstrip() + "\n"


def _section(kind: type[Options]) -> Iterator[str]:
    owners = [engine for engine in ENGINES if kind in PIPELINES[engine]]
    pipelines = "all pipelines" if len(owners) == len(ENGINES) else f"the pipeline of {' and '.join(owners)}"
    places = [_COMMANDS[kind]] if kind in _COMMANDS else []
    summary = " ".join((kind.__doc__ or "").split()).replace("``", "`").rstrip(".")
    yield f"### {summary}"
    yield ""
    yield f"Of {' and '.join([*places, *([pipelines] if owners else [])])}."
    yield ""
    yield "| command line | pipeline | type | default | meaning |"
    yield "| --- | --- | --- | --- | --- |"
    for option in options_of(kind):
        flag, parameter = option.flag and f"`{option.flag}`", f"`{option.parameter}`" if owners else ""
        default = "required" if option.is_required else _default(option, in_pipelines=bool(owners))
        meaning = capitalized(describe(option)).replace("|", "\\|") + "."
        yield f"| {flag} | {parameter} | {type_words(option)} | {default} | {meaning} |"
    yield ""


def _default(option: Option, *, in_pipelines: bool) -> str:
    if option.default is None:
        unset = format_parameter(option.unset)
        return f"{option.otherwise} (in pipelines `{unset}`)" if unset and in_pipelines else option.otherwise
    return f"`{format_parameter(option.default)}`" if option.default not in ("", {}) else ""


def _commands() -> dict[str, argparse.ArgumentParser]:
    (commands,) = (action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(commands.choices)


def _own_actions(name: str, parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """What a command has beside the declared options."""
    declared_flags = {option.flag for kind in _COMMANDS for option in options_of(kind)} - {"--data"}
    if name not in ("run", "plan", "prepare", "evaluate"):
        return parser._actions
    return [action for action in parser._actions if not declared_flags & set(action.option_strings)]


def _flags(action: argparse.Action) -> str:
    return ", ".join(f"`{flag}`" for flag in action.option_strings) or f"`{action.dest}`"


def _table(title: str, actions: Iterable[argparse.Action]) -> Iterator[str]:
    yield f"### {title}"
    yield ""
    yield "| option | value | meaning |"
    yield "| --- | --- | --- |"
    for action in actions:
        value = " or ".join(map(str, action.choices)) if action.choices else str(action.metavar or "")
        needed = " (required)" if action.required else ""
        meaning = (action.help or "").replace("%%", "%").replace("|", "\\|")
        yield f"| {_flags(action)} | {value} | {meaning}{needed} |"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page_text(), encoding="utf-8")
