"""Check HTTP exchanges against GitHub's OpenAPI description (the trimmed copy, github-api.json).

Needs only jsonschema-rs. Beyond what general OpenAPI tools check: multi-segment {path} and {ref} (x-multi-segment),
UNKNOWN request fields and query parameters (GitHub ignores them silently, so a typo would pass), and, with
strict_response, unknown response fields.
"""

from __future__ import annotations

import io
import json
import pathlib
import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import jsonschema_rs

DESCRIPTION = pathlib.Path(__file__).resolve().parent / "github-api.json"
COMPOSE = ("allOf", "anyOf", "oneOf")
METHODS = ("get", "put", "post", "patch", "delete")
# OpenAPI keywords without a meaning in JSON Schema
DROPPED = ("nullable", "discriminator", "xml", "deprecated", "readOnly", "writeOnly", "example")
# GitHub documents few of its error statuses; real ones carry at least "message"
ANY_ERROR = {
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {"message": {"type": "string"}},
                "required": ["message"],
            }
        }
    }
}
# Exchanges that break the description and are right all the same.
WAIVED = [
    # PyGithub sends labels as a bare array: older descriptions have it, and recorded answers show it accepted.
    r"^issues/add-labels \(POST .* request body: /: \[.*(not valid under any|is not of type \"object\")",
    # A label without a description has null there; only pulls/get says so.
    r"^pulls/list -> 200: /\d+/labels/\d+/description: null is not of type",
    r"^pulls/request-reviewers -> 201: /labels/\d+/description: null is not of type",
]


class GitHubSpec:
    def __init__(
        self, path: Any = DESCRIPTION, strict_response: bool = False, prefix: str = ""
    ) -> None:
        """path: the description, as a file or already loaded. prefix: what precedes the paths in URLs ("/api/v3")."""
        is_loaded = isinstance(path, dict)
        self.doc = path if is_loaded else json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        self.prefix, self.strict_response = prefix, strict_response
        self.routes = []  # (method or None, path regex, literal length, template, operation or None, parameters)
        for template, item in self.doc["paths"].items():
            common = [self._deref(p) for p in item.get("parameters", [])]
            for method in METHODS:
                if method in item:
                    self._add_route(method, template, item[method], common)
        # Paths cut away when the description was trimmed: known, so never mistaken for {ref} or {path} of another.
        for template, multi in self.doc.get("x-other-paths", {}).items():
            self.routes.append(
                (None, self._regex(template, multi), self._weight(template), template, None, {})
            )
        self.routes.sort(key=lambda r: -r[2])
        schemas = self.doc["components"]["schemas"]
        self._defs = {
            strict: {name: self._convert(schema, strict) for name, schema in schemas.items()}
            for strict in (False, True)
        }
        self._validators = {}

    def _add_route(self, method, template, operation, common):
        own = [self._deref(p) for p in operation.get("parameters", [])]
        params = {(p["in"], p["name"]): p for p in common + own}
        multi = {
            name
            for (where, name), p in params.items()
            if where == "path" and p.get("x-multi-segment")
        }
        regex = self._regex(template, multi)
        self.routes.append(
            (method.upper(), regex, self._weight(template), template, operation, params)
        )

    @staticmethod
    def _regex(template, multi):
        def group(match):
            return f"(?P<{match[1]}>" + (".*" if match[1] in multi else "[^/]+") + ")"

        return re.compile(re.sub(r"\\{(\w+)\\}", group, re.escape(template)) + r"\Z")

    @staticmethod
    def _weight(template):
        return len(re.sub(r"\{\w+\}", "", template))

    # -- OpenAPI 3.0 schema -> JSON Schema 2020-12 ---------------------------------------------

    def _deref(self, node):
        while isinstance(node, dict) and "$ref" in node:
            target = self.doc
            for part in node["$ref"][2:].split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            node = target
        return node

    def _closed(self, schema):
        """Would unknown properties be a surprise here?"""
        schema = self._deref(schema)
        if "additionalProperties" in schema:
            return False
        return "properties" in schema or any(
            self._closed(branch) for key in COMPOSE for branch in schema.get(key, [])
        )

    def _convert(self, schema, strict, composed=True):
        """composed: this schema is a part of another one, which closes the object if need be."""
        if not isinstance(schema, dict):
            return schema
        if "$ref" in schema:
            out = {"$ref": schema["$ref"].replace("#/components/schemas/", "#/$defs/")}
        else:
            out = {}
            for key, value in schema.items():
                if key == "properties":
                    out[key] = {name: self._convert(p, strict, False) for name, p in value.items()}
                elif key in COMPOSE:  # GitHub's oneOf branches overlap
                    name = "anyOf" if key == "oneOf" else key
                    out[name] = [self._convert(branch, strict, True) for branch in value]
                elif key in ("items", "additionalProperties"):
                    out[key] = self._convert(value, strict, False)
                elif key == "not":
                    out[key] = self._convert(value, False, True)
                elif key in DROPPED or key.startswith("x-"):
                    pass
                elif key == "format" and value == "email":
                    pass  # real bot addresses (x[bot]@users.noreply.github.com) fail it
                elif key in ("exclusiveMinimum", "exclusiveMaximum") and isinstance(value, bool):
                    pass
                else:
                    out[key] = value
            if "enum" in out and schema.get("nullable"):
                out["enum"] = [*out["enum"], None]
        if strict and not composed and self._closed(schema):
            out["unevaluatedProperties"] = False
        if schema.get("nullable") and "$ref" not in schema:
            return {"anyOf": [{"type": "null"}, out]}
        return out

    def _validator(self, schema, strict):
        key = (id(schema), strict)
        if key not in self._validators:
            whole = {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                **self._convert(schema, strict, False),
                "$defs": self._defs[strict],
            }
            self._validators[key] = jsonschema_rs.validator_for(whole, validate_formats=True)
        return self._validators[key]

    def _errors(self, where, schema, value, strict):
        return [
            f"{where}: /{'/'.join(map(str, e.instance_path))}: {e.message[:300]}"
            for e in self._validator(schema, strict).iter_errors(value)
        ]

    @staticmethod
    def _coerce(text, schema):
        """A path or query value with the type that the schema names. PyGithub writes booleans as True and False."""
        kind = schema.get("type")
        if kind == "integer" and re.fullmatch(r"-?\d+", text):
            return int(text)
        if kind == "boolean" and text in ("true", "false", "True", "False"):
            return text.lower() == "true"
        return text

    # -- checking ------------------------------------------------------------------------------

    def match(self, method, path):
        """(template, operation, parameters, path values) or None."""
        for wanted, regex, _, template, operation, params in self.routes:
            if wanted in (None, method.upper()) and (found := regex.match(path)):
                return (template, operation, params, found.groupdict()) if operation else None
        return None

    def check_request(self, method, url, body: bytes | None):
        """(problems, operation)"""
        parts = urlsplit(url)
        path = parts.path.removeprefix(self.prefix)
        hit = self.match(method, path)
        if not hit:
            return [f"no operation in the description: {method} {path}"], None
        template, operation, params, path_values = hit
        problems = []

        def check_value(where, name, text, param):
            value = self._coerce(text, self._deref(param["schema"]))
            problems.extend(self._errors(f"{where} {name}", param["schema"], value, False))

        for name, text in path_values.items():
            if param := params.get(("path", name)):
                check_value("path", name, unquote(text), param)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        for name, text in query.items():
            if param := params.get(("query", name)):
                check_value("query", name, text, param)
            else:
                problems.append(
                    f"query {name}={text}: not a parameter of {operation['operationId']}"
                )
        for (where, name), param in params.items():
            if where == "query" and param.get("required") and name not in query:
                problems.append(f"query {name}: required")
        problems += self._check_request_body(operation, body)
        return [
            f"{operation['operationId']} ({method} {template}) {p}" for p in problems
        ], operation

    def _check_request_body(self, operation, body):
        wanted = self._deref(operation.get("requestBody") or {})
        if not body:
            return ["request body required"] if wanted.get("required") else []
        schema = wanted.get("content", {}).get("application/json", {}).get("schema")
        if not schema:
            return [f"body sent, but {operation['operationId']} takes none"]
        try:
            return self._errors("request body", schema, json.loads(body), True)
        except ValueError as e:
            return [f"request body is not JSON: {e}"]

    def check_response(self, operation, status, headers, body: bytes | None):
        who = f"{operation['operationId']} -> {status}"
        response = operation["responses"].get(str(status)) or operation["responses"].get("default")
        if response is None and status >= 400:
            response = ANY_ERROR
        if response is None:
            return [f"{who}: status not documented ({'/'.join(operation['responses'])})"]
        content = self._deref(response).get("content") or {}
        if not content:  # documented without a body: binding for successes only
            return [f"{who}: must have no body"] if body and status < 300 else []
        lower = {key.lower(): value for key, value in dict(headers).items()}
        ctype = lower.get("content-type", "").split(";")[0].strip()
        media = content.get(ctype)
        if media is None and ctype == "application/vnd.github+json":
            media = content.get("application/json")
        if media is None:
            return [f"{who}: content-type {ctype!r} not in {sorted(content)}"]
        if "schema" not in media or "json" not in ctype:
            return []
        try:
            data = json.loads(body)
        except ValueError as e:
            return [f"{who}: not JSON: {e}"]
        return self._errors(who, media["schema"], data, self.strict_response and status < 400)

    def check(self, method, url, request_body, status, response_headers, response_body):
        """All problems of one exchange."""
        problems, operation = self.check_request(method, url, request_body)
        if operation:
            problems = problems + self.check_response(
                operation, status, response_headers, response_body
            )
        return problems

    @staticmethod
    def unwaived(problems):
        return [p for p in problems if not any(re.search(waiver, p) for waiver in WAIVED)]


class Checked:
    """WSGI middleware that checks every API exchange; the problems gather in .problems.

    record(method, url, request headers, request body, status, response headers, response body) is called too.
    """

    def __init__(self, app: Any, spec: GitHubSpec, record: Any = None) -> None:
        self.app, self.spec, self.record = app, spec, record
        self.problems, self.exchanges, self.operations = [], 0, set()

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        # GraphQL is not in the description; graphql.py checks what it is sent.
        if ".git/" in path or path.startswith("/_blob") or path == "/graphql":
            return self.app(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        got = {}

        def keep(status, headers, exc_info=None):
            got.update(status=int(status.split()[0]), headers=headers)
            return start_response(status, headers)

        out = b"".join(self.app(environ, keep))
        query = environ.get("QUERY_STRING")
        url = f"{path}?{query}" if query else path
        method = environ["REQUEST_METHOD"]
        problems, operation = self.spec.check_request(method, url, body)
        if operation:
            answer = self.spec.check_response(operation, got["status"], got["headers"], out)
            problems = problems + answer
            self.operations.add(operation["operationId"])
        self.exchanges += 1
        self.problems += self.spec.unwaived(problems)
        if self.record:
            sent = {
                k[5:].replace("_", "-").title(): v
                for k, v in environ.items()
                if k.startswith("HTTP_")
            }
            self.record(method, url, sent, body, got["status"], dict(got["headers"]), out)
        return [out]
