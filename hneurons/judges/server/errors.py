"""What a server says in an error, in one line, and whether another call would meet the same error."""

import html
import json
import re
from collections.abc import Mapping
from typing import Any

from hneurons.config.judges import LLMSettings

# A shorter value is not a real key and may occur in a reply by chance.
_SHORTEST_KEY = 8
_LONGEST_LINE = 200
# Pages of HTML are read to here.
_LONGEST_BODY = 5000
_SAID_IN = ("error", "errors", "message", "msg", "detail", "error_message", "error_description", "title")
# No key, no money, no permission, no such model.
_FINAL = (401, 402, 403, 404)
_NO_MONEY = re.compile(
    r"insufficient[ _](?:\w+[ _])?(?:quota|balance|credits?|funds?)|billing_|credit balance", re.IGNORECASE
)
_MODERATED = {"content_filter", "content_policy_violation"}
_FORMAT = re.compile(r"response.?format|json.?schema|json.?object|structured.?output|guided|grammar", re.IGNORECASE)


def without_key(key: str, text: str) -> str:
    """Mask an API key in a text."""
    return text.replace(key, "***") if len(key) >= _SHORTEST_KEY else text


def one_line(text: str, key: str = "") -> str:
    """Return the beginning of a text as one line without the key."""
    # The key is masked first, because a part of it would not be recognised.
    printable = "".join(c if c.isprintable() else " " for c in without_key(key, text))
    return " ".join(printable.split())[:_LONGEST_LINE]


def body_of(response: Any) -> Any:
    """Return the JSON in a response, or its text."""
    try:
        return response.json()
    except (ValueError, RecursionError):
        return response.text


def server_message(body: Any) -> str:
    """Return the message in the body of a response, in whichever usual place it is.

    Args:
        body: JSON as Python data, or text, which may be HTML.

    Returns:
        The message, of any length; all of the body if no part of it looks like a message.
    """
    return _message(body, 0) or (json.dumps(body, ensure_ascii=False) if body else "")


def _message(body: Any, depth: int) -> str:
    if isinstance(body, str):
        page = re.sub(r"<(script|style)\b.*?</\1>", " ", body[:_LONGEST_BODY], flags=re.DOTALL | re.IGNORECASE)
        is_html = re.match(r"\s*<(?:!doctype|html|head|body|h1|p)\b", body, re.IGNORECASE)
        return html.unescape(re.sub(r"<[^<>]*>", " ", page)) if is_html else body[:_LONGEST_BODY]
    if depth > 5:
        return ""
    if isinstance(body, list):
        return "; ".join(filter(None, (_message(part, depth + 1) for part in body[:3])))
    if not isinstance(body, Mapping):
        return ""
    text = next(filter(None, (_message(body.get(name), depth + 1) for name in _SAID_IN)), "")
    place = body.get("loc")
    if text and isinstance(place, list):
        return f"{'.'.join(map(str, place))}: {text}"
    # A router puts the words of the server behind it here.
    metadata = body.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    return f"{text}: {_message(raw, depth + 1)}" if text and raw else text


def error_words(body: Any) -> str:
    """Return the message with the error's code, type and parameter, in which causes are searched."""
    error = _error(body)
    return " ".join([server_message(body), *(str(error[name]) for name in ("code", "type", "param") if error.get(name))])


def status_in(body: Any) -> int | None:
    """Return the HTTP status that an error names in its body, as routers do; None if it names none."""
    code = str(_error(body).get("code", ""))
    return int(code) if re.fullmatch("[45][0-9][0-9]", code) else None


def is_moderated(body: Any) -> bool:
    """Return whether a prompt was rejected because of its content, which another call would be too."""
    error = _error(body)
    metadata = error.get("metadata")
    return error.get("code") in _MODERATED or (isinstance(metadata, Mapping) and "flagged_input" in metadata)


def needs_money(status: int, body: Any) -> bool:
    """Return whether the account has no money or quota left, so that no retry helps."""
    return status == 402 or (400 <= status < 500 and _NO_MONEY.search(error_words(body)) is not None)


def is_final(status: int, body: Any) -> bool:
    """Return whether every other call would meet this error too."""
    return status in _FINAL or needs_money(status, body)


def what_to_do(status: int, body: Any, settings: LLMSettings) -> str:
    """Return a hint at the setting to check, with a semicolon before it; may be empty."""
    if needs_money(status, body):
        return "; the account has no quota or money left: top it up, then run again"
    if status in (401, 403):
        name = settings.api_key_env
        return f"; check the key in {name}" if name else "; name the variable with the key in judges.llm.api_key_env"
    words = error_words(body)
    if settings.structured_output != "none" and _FORMAT.search(words):
        others = "json_object or none" if settings.structured_output == "json_schema" else "none"
        return f"; try judges.llm.structured_output: {others}"
    if status == 404:
        return f"; check judges.llm.model ({settings.model}) and base_url"
    if re.search("temperature", words, re.IGNORECASE):
        return "; judges.llm.temperature sets another, null none"
    return ""


def _error(body: Any) -> Mapping[str, Any]:
    """The error in a body, or the body itself."""
    error = body.get("error", body) if isinstance(body, Mapping) else None
    error = error if isinstance(error, Mapping) else body
    return error if isinstance(error, Mapping) else {}
