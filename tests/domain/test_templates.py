"""Templates: every variable is filled once, and whatever is wrong is named."""

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.adapters.shipped import load_shipped_templates, parse_templates
from service.domain.errors import Invalid
from service.domain.providers import PROVIDERS
from service.domain.templates import (
    MAX_PROMPT,
    MAX_VALUE,
    MAX_VARIABLES,
    Template,
    check_template,
    fill,
)

NAMES = st.text(string.ascii_uppercase + string.digits + "_", min_size=1, max_size=8).map(
    lambda tail: f"V{tail}"
)
# Values that try to be more than text: braces, other variables' names, regex and format signs.
VALUES = st.one_of(
    st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40),
    NAMES.map(lambda name: f"{{{{{name}}}}}"),
    st.sampled_from(["{{", "}}", "\\1", "\\g<0>", "{0}", "%s", "$1", "{{ V }}"]),
).filter(str.strip)
PLAIN = st.text(string.ascii_lowercase + " .,", max_size=20)


def template(prompt: str = "a {{BRAND}} b", **changes: object) -> Template:
    fields: dict[str, object] = {
        "slug": "a-b",
        "title": "T",
        "prompt": prompt,
        "provider": "seedance",
        "duration_s": 5,
        **changes,
    }
    return Template(**fields)  # type: ignore[arg-type]


@given(
    values=st.dictionaries(NAMES, VALUES, min_size=1, max_size=6),
    words=st.lists(PLAIN, min_size=14, max_size=14),
    spaces=st.sampled_from(["", " ", "\t"]),
    data=st.data(),
)
def test_every_variable_is_replaced_and_no_value_is_expanded_again(
    values: dict[str, str], words: list[str], spaces: str, data: st.DataObject
) -> None:
    twice = [*values, *data.draw(st.permutations(list(values)))]
    prompt, expected = "", ""
    for word, name in zip(words, twice, strict=False):
        prompt += f"{word}{{{{{spaces}{name}{spaces}}}}}"
        expected += f"{word}{values[name].strip()}"
    made = template(prompt)
    assert made.variables == tuple(values)
    assert fill(made, values) == expected


@given(
    wanted=st.sets(NAMES, min_size=1, max_size=5), given_=st.dictionaries(NAMES, VALUES, max_size=5)
)
def test_every_missing_and_every_unknown_variable_is_named(
    wanted: set[str], given_: dict[str, str]
) -> None:
    made = template(" ".join(f"{{{{{name}}}}}" for name in wanted))
    wrong = wanted ^ given_.keys()
    if not wrong:
        fill(made, given_)
        return
    with pytest.raises(Invalid) as raised:
        fill(made, given_)
    assert {error.field for error in raised.value.errors} == {f"variables.{name}" for name in wrong}


@pytest.mark.parametrize(
    "value", ["", "  ", "\t", "a\nb", "a\x00", "\x7f", "x" * (MAX_VALUE + 1)], ids=repr
)
def test_a_value_that_is_empty_too_long_or_has_control_characters_is_refused(value: str) -> None:
    with pytest.raises(Invalid) as raised:
        fill(template(), {"BRAND": value})
    assert [error.field for error in raised.value.errors] == ["variables.BRAND"]


def test_the_longest_value_is_allowed() -> None:
    assert len(fill(template("{{BRAND}}"), {"BRAND": "x" * MAX_VALUE})) == MAX_VALUE


def test_a_prompt_that_grows_too_long_is_refused() -> None:
    made = template("{{BRAND}}" * 20)
    with pytest.raises(Invalid, match=str(MAX_PROMPT)):
        fill(made, {"BRAND": "x" * MAX_VALUE})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"slug": "A b"}, "slug"),
        ({"slug": "-a"}, "slug"),
        ({"slug": "a--b"}, "slug"),
        ({"slug": "a\n"}, "slug"),
        ({"slug": ""}, "slug"),
        ({"title": " "}, "title"),
        ({"prompt": " "}, "prompt"),
        ({"prompt": "x" * (MAX_PROMPT + 1)}, "prompt"),
        ({"prompt": "{{lower}}"}, "prompt"),
        ({"prompt": "{{A B}}"}, "prompt"),
        ({"prompt": "{{OPEN"}, "prompt"),
        ({"prompt": " ".join(f"{{{{V{n}}}}}" for n in range(MAX_VARIABLES + 1))}, "prompt"),
    ],
)
def test_a_template_that_cannot_work_is_refused_and_its_field_named(
    change: dict[str, str], field: str
) -> None:
    assert [error.field for error in check_template(template(**change))] == [field]


def test_a_good_template_has_no_errors() -> None:
    assert check_template(template()) == []


# -------------------------------------------------------------------------------- as files


def read(text: str) -> list[Template]:
    return parse_templates(text.encode())


GOOD = {
    "slug": "a-b",
    "title": "T",
    "prompt": "x {{A}}",
    "provider": "seedance",
    "durationSeconds": 5,
    "options": {"seed": 1},
}


def test_the_shipped_templates_are_good_and_fillable() -> None:
    shipped = load_shipped_templates()
    assert len({each.slug for each in shipped}) == len(shipped) >= 1
    for each in shipped:
        assert PROVIDERS[each.provider].retired_on is None
        assert "{{" not in fill(each, dict.fromkeys(each.variables, "word"))


def test_one_template_or_a_list_is_read() -> None:
    [one] = read(json.dumps(GOOD))
    assert one == template("x {{A}}", options={"seed": 1})
    assert read(json.dumps([GOOD, GOOD])) == [one, one]
    [bare] = read(json.dumps({k: v for k, v in GOOD.items() if k != "options"}))
    assert bare.options == {}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"slug": 3}, "slug"),
        ({"durationSeconds": True}, "durationSeconds"),
        ({"durationSeconds": 5.0}, "durationSeconds"),
        ({"durationSeconds": 99}, "duration"),
        ({"options": []}, "options"),
        ({"options": {"warp": 9}}, "options.warp"),
        ({"provider": "nobody"}, "provider"),
        ({"stranger": 1}, "stranger"),
        ({"slug": "A B"}, "slug"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_place(
    change: dict[str, object], field: str
) -> None:
    with pytest.raises(Invalid) as raised:
        read(json.dumps([GOOD, {**GOOD, **change}]))
    assert [error.field for error in raised.value.errors] == [f"[1].{field}"]


@pytest.mark.parametrize("name", [name for name in GOOD if name != "options"])
def test_a_missing_field_is_named(name: str) -> None:
    with pytest.raises(Invalid) as raised:
        read(json.dumps({k: v for k, v in GOOD.items() if k != name}))
    assert [error.field for error in raised.value.errors] == [f"[0].{name}"]


@pytest.mark.parametrize("text", ["", "{", "3", '"x"', "[3]", "null", "[" * 100_000])
def test_a_file_that_holds_no_template_is_invalid(text: str) -> None:
    with pytest.raises(Invalid):
        read(text)


def test_a_file_that_is_no_text_is_invalid() -> None:
    with pytest.raises(Invalid):
        parse_templates(b"\xff\xfe\xff")
