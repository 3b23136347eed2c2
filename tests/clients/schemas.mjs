// Prints the JSON Schemas that JavaScript's packages make of shapes, one per line, with instances.
//
// `valid` instances pass the package's own validator; `invalid` ones are refused by it, and by the schema as ajv reads it.

import { Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { Ajv } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import * as z3 from "zod/v3";
import * as z4 from "zod/v4";
import { zodToJsonSchema } from "zod-to-json-schema";
import { boxes, newerShapes, shapes } from "./schema_classes.mjs";

// As many invalid instances as one class needs.
const MOST_INVALID = 12;
const WRONG = [null, "no such value", -1000000.5, true, [], {}, [["x"]], { x: 1 }];

// The value with one part of it left out, replaced or added.
function* damaged(value) {
  yield* WRONG;
  if (Array.isArray(value)) {
    yield [...value, "no such value"];
    for (const [number, inner] of value.entries()) {
      yield value.toSpliced(number, 1);
      yield [...value, inner];
      for (const wrong of damaged(inner)) yield value.with(number, wrong);
    }
  } else if (value !== null && typeof value === "object") {
    yield { ...value, "unheard of": 1 };
    for (const [name, inner] of Object.entries(value)) {
      const { [name]: _, ...others } = value;
      yield others;
      for (const wrong of damaged(inner)) yield { ...value, [name]: wrong };
    }
  }
}

function spread(instances) {
  const distinct = [...new Map(instances.map((instance) => [JSON.stringify(instance), instance])).values()];
  const step = Math.max(1, Math.ceil(distinct.length / MOST_INVALID));
  return distinct.filter((_, number) => number % step === 0);
}

// A validator of the draft that the schema names; `null` where the schema is none.
function reader(schema) {
  const isOld = String(schema.$schema ?? "").includes("draft-07");
  const ajv = new (isOld ? Ajv : Ajv2020)({ strict: false, logger: false });
  addFormats(ajv);
  try {
    return ajv.compile(schema);
  } catch {
    return null;
  }
}

function emit(name, shape, schema, accepts, values) {
  const isValid = reader(schema);
  const wrong = values.flatMap((value) => [...damaged(value)]);
  const valid = isValid ? values.filter((value) => accepts(value) && isValid(value)) : [];
  const invalid = isValid ? spread(wrong.filter((value) => !isValid(value) && !accepts(value))) : [];
  console.log(JSON.stringify({ package: name, class: shape, schema, valid, invalid }));
}

function tryEach(list, packages, accepts) {
  for (const [shape, type, values] of list) {
    for (const [name, convert] of packages) {
      try {
        emit(name, shape, JSON.parse(JSON.stringify(convert(type))), (value) => accepts(type, value), values);
      } catch (error) {
        // Not every package takes every shape.
        console.error(`${name} ${shape}: ${error.message.split("\n")[0]}`);
      }
    }
  }
}

const parses = (type, value) => type.safeParse(value).success;
const newer = [
  ["zod", (type) => z4.toJSONSchema(type)],
  ["zod, input", (type) => z4.toJSONSchema(type, { io: "input" })],
  ["zod, draft-07", (type) => z4.toJSONSchema(type, { target: "draft-7" })],
  ["zod, openapi-3.0", (type) => z4.toJSONSchema(type, { target: "openapi-3.0" })],
  ["zod, references", (type) => z4.toJSONSchema(type, { reused: "ref", cycles: "ref" })],
  ["openai, zodResponseFormat", (type) => zodResponseFormat(type, "answer").json_schema.schema],
  ["openai, zodTextFormat", (type) => zodTextFormat(type, "answer").schema],
];
const older = [
  ["zod-to-json-schema", (type) => zodToJsonSchema(type)],
  ["zod-to-json-schema, named", (type) => zodToJsonSchema(type, "Answer")],
  ["zod-to-json-schema, openApi3", (type) => zodToJsonSchema(type, { target: "openApi3" })],
  ["zod-to-json-schema, openAi", (type) => zodToJsonSchema(type, { target: "openAi" })],
];
tryEach([...shapes(z4), ...newerShapes(z4)], newer, parses);
tryEach(shapes(z3), older, parses);
const checks = (type, value) => {
  try {
    return Value.Check(type, value);
  } catch {
    // It has no answer for some values.
    return false;
  }
};
tryEach(boxes(Type), [["typebox", (type) => type]], checks);
