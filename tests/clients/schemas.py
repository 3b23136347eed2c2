"""Prints the JSON Schemas that Python's packages make of classes, one per line, with instances.

`valid` instances were written by the package from objects; `invalid` ones are refused by the package's own validator, and by
the schema as the `jsonschema` package reads it.
"""

import copy
import inspect
import json
import sys
import typing
import warnings
from typing import Any

import anthropic
import jsonschema
import ollama._utils
import pydantic
from instructor.v2.core.response_model import prepare_response_model
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from openai.lib._parsing._completions import type_to_response_format_param
from schema_classes import CLASSES

# As many invalid instances as one class needs.
MOST_INVALID = 12
WRONG = [None, "no such value", -1000000.5, True, [], {}, [["x"]], {"x": 1}]


def name_of(of: Any) -> str:
    return getattr(of, "__name__", None) or str(of).replace("typing.", "")


def damaged(value: Any) -> typing.Iterator[Any]:
    """The value with one part of it left out, replaced or added."""
    yield from WRONG
    if isinstance(value, dict):
        yield value | {"unheard of": 1}
        for name, inner in value.items():
            yield {key: copy.deepcopy(other) for key, other in value.items() if key != name}
            for wrong in damaged(inner):
                yield value | {name: wrong}
    elif isinstance(value, list):
        yield value + ["no such value"]
        for number, inner in enumerate(value):
            yield value[:number] + value[number + 1 :]
            yield value + [inner]
            for wrong in damaged(inner):
                yield value[:number] + [wrong] + value[number + 1 :]


def takes(adapter: pydantic.TypeAdapter, instance: Any) -> bool:
    try:
        adapter.validate_json(json.dumps(instance))
    except (pydantic.ValidationError, TypeError):
        return False
    return True


def distinct(instances: typing.Iterable[Any]) -> list[Any]:
    return list({json.dumps(instance): instance for instance in instances}.values())


def spread(instances: list[Any]) -> list[Any]:
    """Some of the instances, from all places of the list."""
    return instances[:: max(1, -(-len(instances) // MOST_INVALID))]


def emit(package: str, name: str, schema: dict, adapter: pydantic.TypeAdapter, dumped: list[Any]) -> None:
    line = {"package": package, "class": name, "schema": schema, "valid": [], "invalid": []}
    try:
        validator = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
        validator.check_schema(schema)
        is_valid = validator(schema, format_checker=validator.FORMAT_CHECKER).is_valid
        line["valid"] = distinct(instance for instance in dumped if takes(adapter, instance) and is_valid(instance))
        wrong = distinct(other for instance in dumped for other in damaged(instance) if not is_valid(other))
        line["invalid"] = spread([instance for instance in wrong if not takes(adapter, instance)])
    except jsonschema.SchemaError:
        # Some packages write what is no schema; it is to be refused.
        pass
    print(json.dumps(line))


def of_pydantic(of: Any, adapter: pydantic.TypeAdapter, dumped: list[Any]) -> None:
    for mode in ("validation", "serialization"):
        emit(f"pydantic, {mode}", name_of(of), adapter.json_schema(mode=mode), adapter, dumped)


def of_openai(of: Any, adapter: pydantic.TypeAdapter, dumped: list[Any]) -> None:
    schema = type_to_response_format_param(of)["json_schema"]["schema"]
    emit("openai, strict", name_of(of), schema, adapter, dumped)


def of_anthropic(of: Any, adapter: pydantic.TypeAdapter, dumped: list[Any]) -> None:
    is_model = inspect.isclass(of) and issubclass(of, pydantic.BaseModel)
    schema = anthropic.transform_schema(of if is_model else adapter.json_schema())
    emit("anthropic", name_of(of), schema, adapter, dumped)


def of_langchain(of: Any, adapter: pydantic.TypeAdapter, dumped: list[Any]) -> None:
    for strict in (None, True):
        tool = convert_to_openai_tool(of, strict=strict)
        package = "langchain, strict" if strict else "langchain"
        emit(package, name_of(of), tool["function"]["parameters"], adapter, dumped)
    emit("langchain, response", name_of(of), convert_to_json_schema(of), adapter, dumped)


def of_instructor(of: Any, _: pydantic.TypeAdapter, dumped: list[Any]) -> None:
    model = prepare_response_model(of)
    adapter = pydantic.TypeAdapter(model)
    # What is no model becomes a field of one.
    forms = [[instance, {"content": instance}, {"tasks": instance}] for instance in dumped]
    wrapped = [form for instances in forms for form in instances if takes(adapter, form)]
    emit("instructor", name_of(of), model.openai_schema["parameters"], adapter, wrapped)
    emit("instructor, anthropic", name_of(of), model.anthropic_schema["input_schema"], adapter, wrapped)


def of_ollama(of: Any, adapter: pydantic.TypeAdapter, dumped: list[Any]) -> None:
    """The class as a function's arguments."""

    def function(**fields: Any) -> None: ...

    fields = of.model_fields
    parameters = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=field.annotation)
        for name, field in fields.items()
    ]
    function.__signature__ = inspect.Signature(parameters)
    function.__name__ = name_of(of)
    tool = ollama._utils.convert_function_to_tool(function)
    schema = tool.function.parameters.model_dump(exclude_none=True, by_alias=True)
    emit("ollama, tools", name_of(of), schema, adapter, dumped)


PACKAGES = [of_pydantic, of_openai, of_anthropic, of_langchain, of_instructor, of_ollama]


def main() -> None:
    warnings.simplefilter("ignore")
    for of, objects in CLASSES:
        adapter = pydantic.TypeAdapter(of)
        # With computed fields, and as it can be read again.
        dumps = [(value, is_again) for value in objects for is_again in (False, True)]
        dumped = [
            adapter.dump_python(value, mode="json", by_alias=True, round_trip=is_again) for value, is_again in dumps
        ]
        for package in PACKAGES:
            try:
                package(of, adapter, dumped)
            except Exception as error:
                # Not every package takes every class.
                print(f"{package.__name__} {name_of(of)}: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)


main()
