import pytest

from feature_extraction import FeatureError
from feature_extraction.items.texts import TextTemplate, clean_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("<p>Red<br/>hat</p>", "Red hat"),
        ("Tom &amp; Jerry&nbsp;&#8211; caf&eacute;", "Tom & Jerry – café"),
        ("a < b, <3, x <", "a < b, <3, x <"),
        ("a<script>alert('b')</script>c<style>p{}</style>", "a c"),
        ("</script>a", "a"),
        ("cafe\u0301", "café"),
        (" two \n\t lines\u00a0", "two lines"),
        ("<p> </p>", ""),
        ("", ""),
    ],
)
def test_html_goes_unicode_is_composed_and_spaces_are_single(text: str, expected: str) -> None:
    assert clean_text(text) == expected


def test_template_gives_none_where_all_fields_are_empty() -> None:
    template = TextTemplate("{a}, {b} and {a}")
    assert template.columns == ["a", "b"]
    assert template.fill({"a": "x", "b": "<i>y</i>"}) == "x, y and x"
    assert template.fill({"a": None, "b": "y"}) == ", y and"
    assert template.fill({"a": None, "b": "<br>"}) is None


def test_values_are_no_templates() -> None:
    assert TextTemplate("{a} {b}").fill({"a": "{b}", "b": "{a.__class__}"}) == "{b} {a.__class__}"


@pytest.mark.parametrize("template", ["", "title", "{", "}", "{}", "{{title}}", "{a} {b"])
def test_template_that_names_no_column_or_holds_an_open_brace_is_refused(template: str) -> None:
    with pytest.raises(FeatureError, match="template"):
        TextTemplate(template)
