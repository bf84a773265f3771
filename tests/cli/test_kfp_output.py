"""What a reader sees of KFP's own output, line by line as kfp.local prints it."""

from kfp_image_tuning.cli.kfp_output import OutputFilter

PRINTED = """\
22:55:17.101 - INFO - Executing task \x1b[96m'data-preparation'\x1b[0m
22:55:17.102 - INFO - Streamed logs:

    [KFP Executor 2026-11-21 22:55:18,001 INFO]: Looking for component `data_preparation` in --component_module_path
    [KFP Executor 2026-11-21 22:55:18,002 INFO]: Got executor_input:
    {
        "inputs": {
            "parameterValues": {}
        }
    }
    240 images of 4 classes
    [KFP Executor 2026-11-21 22:55:19,003 INFO]: Wrote executor output file to /tmp/x.
    

22:55:19.101 - INFO - Task \x1b[96m'data-preparation'\x1b[0m finished with status \x1b[92mSUCCESS\x1b[0m
22:55:19.102 - INFO - Task \x1b[96m'data-preparation'\x1b[0m outputs:
    dataset: Dataset( name='dataset',
                      uri='/tmp/dataset' )
--------------------------------------------------------------------------------
22:55:19.201 - INFO - Executing task \x1b[96m'local-tuning'\x1b[0m
22:55:19.202 - INFO - Streamed logs:

    first trial
    ===============================================================================
    kfp-image-tuning: ERROR budget
    2 problems:
      - one
      - two
    ===============================================================================
    Exception ignored in sys.unraisablehook
"""  # noqa: W293


def test_components_lines_and_headings_are_shown() -> None:
    output = OutputFilter({"preparation": "1/3 Preparing"})
    shown = [text for line in PRINTED.splitlines(keepends=True) for text in output.lines(line)]
    assert shown == [
        "1/3 Preparing",
        "240 images of 4 classes",
        "local-tuning",
        "first trial",
        "Exception ignored in sys.unraisablehook",
    ]


def test_last_words_of_a_failed_component_are_kept_apart() -> None:
    output = OutputFilter({})
    for line in PRINTED.splitlines(keepends=True):
        list(output.lines(line))
    assert output.error == ["2 problems:", "  - one", "  - two"]
