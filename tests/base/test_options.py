"""Option strings: grammar, table, refusals, canonical text."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qdq.base.errors import InternalError, OptionError
from qdq.base.options import (
    JobKind,
    Options,
    OptionSpec,
    OptionTable,
    load_table,
    option_table,
    parse_options,
)

ROOT = Path(__file__).resolve().parents[2]
ROWS: list[dict[str, Any]] = [
    {"name": "flag", "kind": "flag"},
    {"name": "mode", "kind": "choice", "choices": ["fast", "exact"], "default": "fast"},
    {"name": "text", "kind": "text", "contradicts": ["names"]},
    {"name": "count", "kind": "int", "minimum": -10, "maximum": 10, "default": "3"},
    {"name": "share", "kind": "float", "minimum": -1.0},
    {"name": "names", "kind": "list", "contradicts": ["text"]},
    {
        "name": "units",
        "kind": "list",
        "choices": ["all", "cpu", "gpu"],
        "exclusive_choices": ["all"],
    },
    {"name": "pairs", "kind": "pairs", "mergeable": True},
    {
        "name": "keyed",
        "kind": "pairs",
        "mergeable": True,
        "keys": {"mode": ["FAST", "EXACT"], "count": [0, 9]},
        "refused_keys": {"npu_": "there is no NPU"},
    },
    {
        "name": "chips",
        "kind": "list",
        "choices": ["all", "cpu"],
        "exclusive_choices": ["all"],
        "fallback_choices": ["cpu"],
        "refused_choices": {"npu": "there is no NPU"},
    },
    {"name": "nodes", "kind": "patterns"},
    {
        "name": "widths",
        "kind": "assignments",
        "names_nodes": True,
        "choices": ["int16", "float"],
    },
    {"name": "ranges", "kind": "assignments"},
    {"name": "later", "kind": "flag", "status": "planned"},
    {"name": "elsewhere", "kind": "flag", "jobs": ["link"]},
]
TABLE = load_table(
    [{"jobs": ["compile"], "status": "supported", "help": "Help.", **row} for row in ROWS]
)
SPECS: list[OptionSpec] = list(option_table().specs)


def parse(text: str, kind: JobKind = JobKind.COMPILE, table: OptionTable = TABLE) -> Options:
    return parse_options(kind, text, table=table)


def refusal(text: str, kind: JobKind = JobKind.COMPILE, table: OptionTable | None = TABLE) -> str:
    with pytest.raises(OptionError) as caught:
        parse_options(kind, text, table=table)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("--flag", "flag", True),
        ("--flag true", "flag", True),
        ("--flag=False", "flag", False),
        ("", "flag", False),
        ("--mode exact", "mode", "exact"),
        ("  --mode=exact \t\n", "mode", "exact"),
        ("", "mode", "fast"),
        ("--count -5", "count", -5),
        ("--count=+7", "count", 7),
        ("", "count", 3),
        ("--share -0.5", "share", -0.5),
        ("--share 1e2", "share", 100.0),
        ("", "share", None),
        ("--text 'two words'", "text", "two words"),
        ('--text="it\'s"', "text", "it's"),
        ("--text a=b=c", "text", "a=b=c"),
        ("--text=a=b", "text", "a=b"),
        (r"--text C:\x", "text", r"C:\x"),
        ("--text #1", "text", "#1"),
        ("--text -x", "text", "-x"),
        ("--names a,b", "names", ("a", "b")),
        ("--names 'a, b'", "names", ("a", "b")),
        ("--units cpu,gpu", "units", ("cpu", "gpu")),
        ("--pairs k=v;o=O=3;", "pairs", (("k", "v"), ("o", "O=3"))),
        ("--pairs a=1 --pairs b=2", "pairs", (("a", "1"), ("b", "2"))),
        ("--pairs a=1 --flag --pairs a=1", "pairs", (("a", "1"),)),
        ("--nodes /a/.* --nodes 'b|c d'", "nodes", ("/a/.*", "b|c d")),
        (r"--nodes /a\.\d+", "nodes", (r"/a\.\d+",)),
        ("--widths a=b=int16 --widths .*=float", "widths", (("a=b", "int16"), (".*", "float"))),
        ("--widths '(?=a)b=int16'", "widths", (("(?=a)b", "int16"),)),
        ("--ranges x=-1,2.50", "ranges", (("x", "-1.0,2.5"),)),
        ("--ranges a=b=0,1e2 --ranges '[=0,1'", "ranges", (("a=b", "0.0,100.0"), ("[", "0.0,1.0"))),
    ],
)
def test_values(text: str, name: str, value: object) -> None:
    found = parse(text).get(name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("--mdoe fast", ["no compile option --mdoe", "--mode?"]),
        ("--Mode fast", ["no compile option --Mode", "--mode?"]),
        ("--zzzzzz", ["no compile option --zzzzzz", "Use --flag"]),
        ("--elsewhere", ["--elsewhere belongs to link jobs"]),
        ("--later", ["does not support --later"]),
        ("--later --flag=7", ["does not support --later"]),
        ("--mode fast --mode fast", ["--mode is given twice"]),
        ("--pairs a=1 --pairs a=2", ["--pairs", "'a' twice", "'1' and '2'"]),
        ("--pairs a=1;a=2", ["--pairs", "'a' twice"]),
        ("--text x --names y", ["--text and --names contradict"]),
        ("--names y --text x", ["--names and --text contradict"]),
        ("--units all,cpu", ["--units", "'all' contradicts"]),
        ("--units cpu,cpu", ["--units names an item twice"]),
        ("--units tpu", ["--units cannot be 'tpu'", "all, cpu, gpu"]),
        ("--names a,,b", ["--names has an empty item"]),
        ("--names 'a, --b'", ["--names begins with '--'"]),
        ("--mode", ["--mode needs a value", "fast, exact"]),
        ("--mode=", ["--mode has an empty value"]),
        ("--mode ''", ["--mode has an empty value"]),
        ("--mode slow", ["--mode cannot be 'slow'", "fast, exact"]),
        ("--mode=--flag", ["--mode begins with '--'"]),
        ("--mode --flag", ["--mode needs a value"]),
        ("--mode fast exact", ["'exact' follows the value 'fast' of option --mode"]),
        ("--flag maybe", ["--flag cannot be 'maybe'", "true or false"]),
        ("--count 1.5", ["--count cannot be '1.5'", "whole number from -10 to 10"]),
        ("--count 11", ["--count cannot be '11'"]),
        ("--count \u0661", ["--count cannot be"]),
        ("--count 1_0", ["--count cannot be '1_0'"]),
        ("--share nan", ["--share cannot be 'nan'", "at least -1"]),
        ("--share inf", ["--share cannot be 'inf'"]),
        ("--share 1e999", ["--share cannot be"]),
        ("--pairs a", ["--pairs: 'a' is not key=value"]),
        ("--pairs a=", ["--pairs: 'a=' is not key=value"]),
        ("--pairs =a", ["--pairs: '=a' is not key=value"]),
        ("--pairs ;", ["--pairs: '' is not key=value"]),
        ("--nodes a --nodes a", ["--nodes is given twice for 'a'"]),
        ("--nodes " + " --nodes ".join(map(str, range(33))), ["--nodes is given more than 32"]),
        ("--nodes 'a('", ["--nodes cannot be 'a('", "no regular expression", "position 1"]),
        ("--nodes (?i)a", ["--nodes", "'(?i' has no place", "without flags"]),
        ("--nodes [\x21-\uffff]", ["--nodes", "has no place"]),
        (r"--nodes [\u0021-\uffff]", ["--nodes", "has no place"]),
        ("--nodes a{99999999999999999999}", ["--nodes cannot be", "no regular expression"]),
        ("--nodes " + "a" * 257, ["--nodes has 257 characters, more than 256"]),
        ("--widths a", ["--widths cannot be 'a'", "REGEX=VALUE", "int16, float"]),
        ("--widths a=", ["--widths cannot be 'a='"]),
        ("--widths =int16", ["--widths cannot be '=int16'"]),
        ("--widths a=int4", ["--widths cannot be 'a=int4'", "int16, float"]),
        ("--widths a(=int16", ["--widths cannot be 'a('", "no regular expression"]),
        ("--widths a=int16 --widths a=float", ["--widths is given twice for 'a'"]),
        ("--ranges x=1", ["--ranges cannot be 'x=1'", "NAME=low,high"]),
        ("--ranges x=2,1", ["--ranges cannot be 'x=2,1'"]),
        ("--ranges x=0,0", ["--ranges cannot be 'x=0,0'"]),
        ("--ranges x=nan,1", ["--ranges cannot be"]),
        ("--ranges x=0,inf", ["--ranges cannot be"]),
        ("--ranges x=0,1,2", ["--ranges cannot be"]),
        ("mode fast", ["'mode' is not an option"]),
        ("-m fast", ["'-m' is not an option"]),
        ("--", ["no option name"]),
        ("--=3", ["no option name"]),
        ("--text 'open", ["quote is not closed"]),
        ("--text a\x00b", ["control character '\\x00'"]),
        ("--text " + "x" * 70_000, ["70007 characters"]),
    ],
)
def test_refusals_name_the_option(text: str, parts: list[str]) -> None:
    message = refusal(text)
    for part in parts:
        assert part in message


def test_no_expression_is_slow_to_compile() -> None:
    """The server reads expressions of strangers in its own process."""
    worst = (r"[\x00-\xff]" * 99, "[\xff]" * 99, "(?:" * 60 + "a" + "{0,9})*" * 28, "(?<=a)" * 60)
    start = time.process_time()
    for text in worst:
        try:
            parse(f"--nodes '{text[:256]}'")
        except OptionError:
            continue
    assert time.process_time() - start < 0.5


def test_given_lists_only_what_the_text_holds() -> None:
    options = parse("--count 4 --flag")
    assert options.given == {"count", "flag"}
    assert options.get_text("mode") == "fast"
    assert options.get_int("count") == 4
    assert options.get_flag("flag") is True


def test_typed_getters_refuse_another_type_or_name() -> None:
    options = parse("")
    with pytest.raises(InternalError, match="--mode"):
        options.get_int("mode")
    with pytest.raises(InternalError, match="--nothing"):
        options.get("nothing")


def test_pairs_as_a_mapping_and_options_without_some() -> None:
    options = parse("--keyed mode=fast --keyed count=3 --flag")
    assert options.get_pairs("keyed") == {"mode": "FAST", "count": "3"}
    assert parse("").get_pairs("keyed") == {}
    assert options.without("keyed").to_text() == "--flag"
    assert options.without("keyed").get("keyed") is None
    with pytest.raises(InternalError):
        options.get_pairs("flag")


def test_order_and_spelling_of_the_text_do_not_matter() -> None:
    assert parse("--flag --count 4") == parse("  --count=+4   --flag=true ")
    assert hash(parse("--flag")) == hash(parse("--flag true"))
    assert parse("--flag") != parse("")


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return bool(text) and not text.startswith("--") and not re.search(r"-[^\x00-\x7f]", text)


WORDS = st.text(
    st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from(" '\"\\=;,#-\n\t"), min_size=1
).filter(lambda text: not text.startswith("--"))
ITEMS = st.from_regex(r"[A-Za-z_'\"\\=./ ]*[a-z]", fullmatch=True).map(str.strip)
KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.]{0,5}", fullmatch=True)
PAIR_VALUES = WORDS.map(lambda text: text.replace(";", "").strip()).filter(bool)
SHORT = st.text(
    st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from(" '\"\\=;,#-"),
    min_size=1,
    max_size=12,
)
NAMES = SHORT.map(str.strip).filter(lambda text: text and not text.startswith("--"))
PATTERNS = NAMES.map(lambda text: re.escape(text)[:256].strip()).filter(_is_pattern)
REALS = st.floats(allow_nan=False, allow_infinity=False).map(lambda x: x + 0.0)
BOUNDS = (
    st.tuples(REALS, REALS)
    .filter(lambda ends: ends[0] < ends[1])
    .map(lambda ends: f"{ends[0]!r},{ends[1]!r}")
)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "flag": st.booleans(),
        "mode": st.sampled_from(["fast", "exact"]),
        "text": WORDS,
        "count": st.integers(-10, 10),
        "share": st.floats(-1.0, allow_nan=False, allow_infinity=False).map(lambda x: x + 0.0),
        "units": st.lists(st.sampled_from(["cpu", "gpu"]), min_size=1, unique=True).map(tuple),
        "pairs": st.dictionaries(KEYS, PAIR_VALUES, min_size=1).map(lambda d: tuple(d.items())),
        "nodes": st.lists(PATTERNS, min_size=1, max_size=3, unique=True).map(tuple),
        "widths": st.dictionaries(
            PATTERNS, st.sampled_from(["int16", "float"]), min_size=1, max_size=3
        ).map(lambda d: tuple(d.items())),
        "ranges": st.dictionaries(NAMES, BOUNDS, min_size=1, max_size=3).map(
            lambda d: tuple(d.items())
        ),
    },
)


# Several options of free text at once take long to draw on a busy machine.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(VALUES)
def test_canonical_text_parses_to_the_same_options(values: dict[str, Any]) -> None:
    ordered = tuple((row["name"], values[row["name"]]) for row in ROWS if row["name"] in values)
    options = Options(kind=JobKind.COMPILE, values=ordered, table=TABLE)
    assert parse(options.to_text()) == options


@given(st.lists(ITEMS, min_size=1, unique=True).map(tuple))
def test_canonical_text_of_lists(items: tuple[str, ...]) -> None:
    options = Options(kind=JobKind.COMPILE, values=(("names", items),), table=TABLE)
    assert parse(options.to_text()) == options


@given(
    st.text()
    | st.lists(
        st.sampled_from(["--mode", "--pairs", "=", "a=1", "fast", "'", " ", "--nodes"])
        | st.sampled_from(["--widths", "--ranges", "=int16", "=0,1", "(", ")", "[", "*", "(?i"])
    ).map("".join)
)
def test_any_text_parses_or_is_an_option_error(text: str) -> None:
    try:
        options = parse(text)
    except OptionError as error:
        assert error.cause
    else:
        assert parse(options.to_text()) == options


@pytest.mark.parametrize(
    ("kind", "text", "name", "value"),
    [
        (JobKind.COMPILE, "--target_runtime onnx", "target_runtime", "onnx"),
        (JobKind.QUANTIZE, "", "range_scheme", "auto"),
        (JobKind.QUANTIZE, "--range_scheme mse_minimizer", "range_scheme", "mse_minimizer"),
        (JobKind.QUANTIZE, "--range_scheme min_max", "range_scheme", "min_max"),
        (JobKind.QUANTIZE, "", "quantize_target", "portable"),
        *(
            (JobKind.QUANTIZE, f"--quantize_target {target}", "quantize_target", target)
            for target in ("portable", "htp-v68", "ort-x86", "tflite")
        ),
        (JobKind.COMPILE, "--output_names a,b", "output_names", ("a", "b")),
        (JobKind.COMPILE, "--truncate_64bit_io", "truncate_64bit_io", True),
        (JobKind.COMPILE, "--truncate_64bit_tensors True", "truncate_64bit_tensors", True),
        (JobKind.COMPILE, "--quantize_io --quantize_io_type uint8", "quantize_io", True),
        (JobKind.COMPILE, "", "quantize_io", False),
        (JobKind.COMPILE, "--quantize_io_type int8", "quantize_io_type", "int8"),
        (JobKind.COMPILE, "--force_channel_last_input x", "force_channel_last_input", ("x",)),
        (JobKind.COMPILE, "--force_channel_last_output y", "force_channel_last_output", ("y",)),
        (JobKind.COMPILE, "--quantize_full_type w8a16", "quantize_full_type", "w8a16"),
        (JobKind.COMPILE, "--quantize_full_type w4a8", "quantize_full_type", "w4a8"),
        (JobKind.COMPILE, "--quantize_full_type w4a16", "quantize_full_type", "w4a16"),
        (JobKind.PROFILE, "", "max_profiler_iterations", 100),
        (JobKind.PROFILE, "--max_profiler_iterations 50", "max_profiler_iterations", 50),
        (JobKind.PROFILE, "--max_profiler_time 2.5", "max_profiler_time", 2.5),
        (JobKind.PROFILE, "--compute_unit cpu", "compute_unit", ("cpu",)),
        (JobKind.COMPILE, "--target_runtime tflite", "target_runtime", "tflite"),
        (JobKind.PROFILE, "--tflite_delegates xnnpack", "tflite_delegates", ("xnnpack",)),
        (
            JobKind.PROFILE,
            "--tflite_options number_of_threads=2",
            "tflite_options",
            (("number_of_threads", "2"),),
        ),
        (JobKind.PROFILE, "", "compute_unit", ("all",)),
        (JobKind.PROFILE, "--compute_unit npu,cpu", "compute_unit", ("npu", "cpu")),
        (JobKind.PROFILE, "--compute_unit npu", "compute_unit", ("npu",)),
        (JobKind.COMPILE, "--compute_unit gpu,npu", "compute_unit", ("gpu", "npu")),
        (JobKind.PROFILE, "", "dequantize_outputs", False),
        (JobKind.PROFILE, "--dequantize_outputs", "dequantize_outputs", True),
        (JobKind.PROFILE, "--dequantize_outputs false", "dequantize_outputs", False),
        (
            JobKind.PROFILE,
            "--onnx_options execution_mode=parallel;intra_op_num_threads=+04",
            "onnx_options",
            (("execution_mode", "PARALLEL"), ("intra_op_num_threads", "4")),
        ),
    ],
)
def test_supported_options(kind: JobKind, text: str, name: str, value: object) -> None:
    assert parse_options(kind, text).get(name) == value


@pytest.mark.parametrize(
    ("kind", "text", "part"),
    [
        (JobKind.PROFILE, "--tflite_options enable_fp16=true", "enable_fp16"),
        (JobKind.PROFILE, "--tflite_options number_of_threads=0", "cannot be '0'"),
        (JobKind.PROFILE, "--tflite_options number_of_threads=many", "cannot be 'many'"),
        (JobKind.PROFILE, "--tflite_delegates xnnpack,gpu", "GPU"),
        (JobKind.PROFILE, "--tflite_delegates nnapi", "NNAPI"),
        (JobKind.COMPILE, "--target_runtime qnn_lib_aarch64_android", "deprecated"),
        (JobKind.COMPILE, "--target_runtime nothing", "cannot be 'nothing'"),
        (JobKind.COMPILE, "--quantize_full_type float16", "no float16 weights yet"),
        (JobKind.PROFILE, "--compute_unit all,npu", "'all' contradicts"),
        (JobKind.COMPILE, "--compute_unit all,cpu", "'all' contradicts"),
        (JobKind.PROFILE, "--compute_unit cpu,dsp", "cannot be 'dsp'"),
        (JobKind.PROFILE, "--onnx_options qnn_htp_performance_mode=burst", "QNN execution"),
        (JobKind.PROFILE, "--onnx_options session.x=1", "has no key 'session.x'"),
        (JobKind.PROFILE, "--onnx_options execution_mode=FAST", "cannot be 'FAST'"),
        (JobKind.PROFILE, "--onnx_options intra_op_num_threads=257", "from 0 to 256"),
        (JobKind.PROFILE, "--onnx_options enable_memory_pattern=1", "true, false"),
        (
            JobKind.PROFILE,
            "--onnx_options execution_mode=PARALLEL --onnx_options execution_mode=SEQUENTIAL",
            "gives 'execution_mode' twice",
        ),
        (JobKind.PROFILE, "--max_profiler_iterations 0", "cannot be '0'"),
        (
            JobKind.COMPILE,
            "--qnn_bin_conversion_via_model_library --enable_piqaro True",
            "--qnn_bin_conversion_via_model_library and --enable_piqaro",
        ),
        (
            JobKind.COMPILE,
            "--quantize_full_type int8 --quantize_weight_type float16",
            "--quantize_full_type and --quantize_weight_type contradict",
        ),
        (
            JobKind.LINK,
            "--qnn_options context_enable_graphs=a --qnn_options context_enable_graphs=b",
            "gives 'context_enable_graphs' twice: 'a' and 'b'",
        ),
    ],
)
def test_refused_options(kind: JobKind, text: str, part: str) -> None:
    assert part in refusal(text, kind, None)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{min(spec.jobs)}-{spec.name}")
def test_rows_of_the_table_are_sound(spec: OptionSpec) -> None:
    for kind in spec.jobs:
        assert option_table().of(kind)[spec.name] is spec, "two rows for one option of one job"
        for other in spec.contradicts:
            assert spec.name in option_table().of(kind)[other].contradicts
        if spec.supported:
            # What has no default is not asked for: None, or a flag that is not set.
            missing = spec.default is None
            assert (parse_options(kind, "").get(spec.name) in (None, False)) is missing
        else:
            assert f"does not support {spec.flag}" in refusal(spec.flag, kind, None)
    assert spec.help.endswith(".")
    assert spec.supported == (spec.since is not None)
    assert not set(spec.choices) & dict(spec.refused_choices).keys()


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{min(spec.jobs)}-{spec.name}")
def test_every_option_is_documented(spec: OptionSpec) -> None:
    text = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    assert f"| `{spec.flag}` |" in text
    assert spec.help in text


def test_the_document_is_what_the_table_says() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "options_docs.py"))
    assert (ROOT / "docs" / "options.md").read_text(encoding="utf-8") == script["render"]()


def test_parsing_imports_the_standard_library_only() -> None:
    code = (
        "import sys; from qdq.base.options import JobKind, parse_options;"
        "parse_options(JobKind.QUANTIZE, '--range_scheme auto');"
        "heavy = {'numpy', 'onnx', 'onnx_ir', 'typer', 'rich'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
