// The shapes that people write with zod for classification, extraction and routing, each with values of it.

// As they are written in both versions of zod; `z` is one of them.
export function shapes(z) {
  const feeling = z.enum(["positive", "negative", "neutral"]);
  const address = z.object({
    street: z.string(),
    city: z.string().min(1).max(80),
    postcode: z.string().regex(/^\d{5}$/),
  });
  const person = z.object({
    name: z.string().describe("As it is written"),
    age: z.number().int().min(0).max(150).nullable(),
    address: address.optional(),
    emails: z.array(z.string().email()),
  });
  const cat = z.object({ kind: z.literal("cat"), lives: z.number().int() });
  const dog = z.object({ kind: z.literal("dog"), breed: z.enum(["pug", "husky"]) });
  const tree = z.object({ label: z.string(), children: z.lazy(() => z.array(tree)) });
  const folder = z.object({ name: z.string(), files: z.array(z.lazy(() => file)) });
  const file = z.object({ size: z.number().int().nonnegative(), parent: folder.nullable() });
  const ada = {
    name: "Ada",
    age: 36,
    address: { street: "Weg 1", city: "Ulm", postcode: "89073" },
    emails: ["ada@example.org"],
  };
  const Level = { Low: 1, High: 2 };
  return [
    [
      "Route",
      z.object({ department: z.enum(["sales", "support"]).describe("Who answers"), urgent: z.boolean() }),
      [{ department: "sales", urgent: true }],
    ],
    [
      "Review",
      z.object({ feeling, stars: z.number().int().min(1).max(5), spam: z.boolean().default(false) }),
      [{ feeling: "neutral", stars: 5, spam: true }],
    ],
    [
      "Nullable",
      z.object({ team: feeling.nullable(), language: z.enum(["de", "en"]).optional(), both: feeling.nullish() }),
      [{ team: null, language: "de", both: "neutral" }, { team: "neutral" }],
    ],
    [
      "Level",
      z.object({
        level: z.nativeEnum(Level),
        version: z.literal("v1"),
        certainty: z.union([z.literal(0), z.literal(1), z.literal(2)]),
      }),
      [{ level: 2, version: "v1", certainty: 0 }],
    ],
    [
      "Strict",
      z.object({ label: z.enum(["spam", "ham"]), reason: z.string().max(200) }).strict(),
      [{ label: "ham", reason: "" }],
    ],
    ["OpenEnded", z.object({ label: feeling }).passthrough(), [{ label: "neutral", more: [1] }]],
    ["CatchAll", z.object({ label: feeling }).catchall(z.number()), [{ label: "neutral", more: 1 }]],
    ["Address", address, [ada.address]],
    ["Person", person, [ada, { name: "Bo", age: null, emails: [] }]],
    [
      "People",
      z.object({ people: z.array(person).min(1), total: z.number().int().positive() }),
      [{ people: [ada], total: 1 }],
    ],
    [
      "Tags",
      z.object({
        tags: z.array(z.enum(["news", "art"])).max(3),
        words: z.array(z.string()).nonempty(),
        two: z.array(z.number()).length(2),
      }),
      [{ tags: ["art"], words: ["a"], two: [1, 2] }],
    ],
    [
      "Pair",
      z.object({ pair: z.tuple([z.number().int(), z.string()]), rest: z.tuple([z.string()]).rest(z.number()) }),
      [{ pair: [1, "a"], rest: ["a", 1, 2] }],
    ],
    [
      "Counts",
      z.object({ counts: z.record(z.string(), z.number().int()), any: z.record(z.string(), z.any()) }),
      [{ counts: { a: 1 }, any: { b: [null] } }],
    ],
    [
      "Numbers",
      z.object({
        score: z.number().min(0).max(1),
        percent: z.number().gt(0).lt(100),
        step: z.number().int().multipleOf(5),
        half: z.number().multipleOf(0.5),
        finite: z.number().finite(),
        safe: z.number().int().safe(),
      }),
      [{ score: 0.5, percent: 12.5, step: 10, half: 1.5, finite: 0, safe: 1 }],
    ],
    [
      "Contact",
      z.object({ email: z.string().email(), site: z.string().url(), id: z.string().uuid() }),
      [{ email: "ada@example.org", site: "https://example.org/", id: "7d444840-9dc0-4f2f-8b1c-1f2a3b4c5d6e" }],
    ],
    [
      "Times",
      z.object({
        at: z.string().datetime(),
        on: z.string().date(),
        daily: z.string().time(),
        lasts: z.string().duration(),
      }),
      [{ at: "2026-03-01T12:30:00Z", on: "2026-03-01", daily: "08:30:00", lasts: "PT1H" }],
    ],
    [
      "Affixes",
      z.object({
        start: z.string().startsWith("INV-"),
        end: z.string().endsWith(".pdf"),
        middle: z.string().includes("@"),
        trimmed: z.string().trim().min(1),
        lower: z.string().toLowerCase(),
      }),
      [{ start: "INV-1", end: "a.pdf", middle: "a@b", trimmed: "a", lower: "a" }],
    ],
    [
      "Owner",
      z.object({
        pet: z.discriminatedUnion("kind", [cat, dog]),
        others: z.array(z.discriminatedUnion("kind", [cat, dog])),
      }),
      [{ pet: { kind: "cat", lives: 9 }, others: [{ kind: "dog", breed: "pug" }] }],
    ],
    [
      "Loose",
      z.object({
        value: z.union([z.string(), z.number(), z.boolean(), z.null()]),
        either: z.union([z.number(), z.array(z.number())]),
        model: z.union([cat, address]),
      }),
      [{ value: null, either: [1], model: ada.address }],
    ],
    ["Tree", tree, [{ label: "a", children: [{ label: "b", children: [] }] }]],
    ["Folder", folder, [{ name: "a", files: [{ size: 1, parent: { name: "b", files: [] } }] }]],
    ["Both", z.intersection(z.object({ a: z.string() }), z.object({ b: z.number() })), [{ a: "x", b: 1 }]],
    [
      "Extended",
      address
        .extend({ country: z.string().length(2) })
        .omit({ street: true })
        .partial(),
      [{ country: "DE" }, {}],
    ],
    [
      "Anything",
      z.object({ any: z.any(), unknown: z.unknown(), list: z.array(z.any()) }),
      [{ any: 1, unknown: null, list: [[]] }],
    ],
    [
      "Moderation",
      z.object({
        flagged: z.boolean(),
        categories: z.object({ hate: z.boolean(), violence: z.boolean() }),
        severity: z.number().int().min(0).max(10),
      }),
      [{ flagged: true, categories: { hate: false, violence: true }, severity: 3 }],
    ],
    [
      "Intent",
      z.object({
        intent: z.enum(["book", "cancel"]),
        slots: z.record(z.string(), z.union([z.string(), z.number(), z.null()])),
        confidence: z.number().min(0).max(1),
      }),
      [{ intent: "book", slots: { city: "Ulm", date: null }, confidence: 0.5 }],
    ],
    [
      "Extraction",
      z.object({
        entities: z
          .array(
            z.object({
              text: z.string(),
              label: z.enum(["PER", "ORG"]),
              span: z.tuple([z.number().int(), z.number().int()]),
            }),
          )
          .max(20),
        summary: z.string().min(1).max(300),
      }),
      [{ entities: [{ text: "Ada", label: "PER", span: [0, 3] }], summary: "x" }],
    ],
    ["Bare", z.enum(["spam", "ham"]), ["spam"]],
    ["Routes", z.array(z.object({ department: feeling })), [[{ department: "neutral" }], []]],
    [
      "Step",
      z.object({
        thought: z.string(),
        action: z.union([
          z.object({ do: z.literal("search"), query: z.string() }),
          z.object({ do: z.literal("stop") }),
        ]),
      }),
      [{ thought: "t", action: { do: "stop" } }],
    ],
    ["ByKind", z.object({ by: z.record(z.enum(["a", "b"]), z.boolean()) }), [{ by: { a: true, b: false } }]],
  ];
}

// What only the newer version has.
export function newerShapes(z) {
  return [
    [
      "Formats",
      z.object({
        email: z.email(),
        url: z.url(),
        uuid: z.uuid(),
        v4: z.ipv4(),
        v6: z.ipv6(),
        network: z.cidrv4(),
        base64: z.base64(),
        at: z.iso.datetime(),
        on: z.iso.date(),
      }),
      [
        {
          email: "a@example.org",
          url: "https://example.org/",
          uuid: "7d444840-9dc0-4f2f-8b1c-1f2a3b4c5d6e",
          v4: "10.0.0.1",
          v6: "::1",
          network: "10.0.0.0/8",
          base64: "aGVsbG8=",
          at: "2026-03-01T12:30:00Z",
          on: "2026-03-01",
        },
      ],
    ],
    [
      "Identifiers",
      z.object({
        uuid4: z.uuidv4(),
        nano: z.nanoid(),
        cuid: z.cuid2(),
        ulid: z.ulid(),
        jwt: z.jwt().optional(),
        emoji: z.emoji(),
        phone: z.e164(),
      }),
      [
        {
          uuid4: "7d444840-9dc0-4f2f-8b1c-1f2a3b4c5d6e",
          nano: "V1StGXR8_Z5jdHi6B-myT",
          cuid: "tz4a98xxat96iws9zmbrgj3a",
          ulid: "01ARZ3NDEKTSV4RRFFQ69G5FAV",
          emoji: "🙂",
          phone: "+491234567890",
        },
      ],
    ],
    ["Integers", z.object({ int: z.int(), int32: z.int32(), float: z.float32() }), [{ int: 1, int32: -5, float: 0.5 }]],
    [
      "Exclusive",
      z.strictObject({ answer: z.literal(["yes", "no", 1, null]), code: z.templateLiteral(["A-", z.number()]) }),
      [{ answer: null, code: "A-5" }],
    ],
    ["LooseObject", z.looseObject({ label: z.stringbool().optional(), kind: z.string() }), [{ kind: "x", more: 1 }]],
    ["PartialRecord", z.object({ by: z.partialRecord(z.enum(["a", "b"]), z.number()) }), [{ by: { a: 1 } }]],
    [
      "Described",
      z
        .object({
          label: z
            .enum(["a", "b"])
            .meta({ title: "The label", description: "a: good", examples: ["a"], deprecated: true }),
        })
        .meta({ id: "Described" }),
      [{ label: "a" }],
    ],
    [
      "Getter",
      z.object({
        name: z.string(),
        get parts() {
          return z.array(z.object({ name: z.string() }));
        },
      }),
      [{ name: "a", parts: [{ name: "b" }] }],
    ],
    [
      "Xor",
      z.object({ value: z.xor([z.object({ a: z.string() }), z.object({ b: z.number() })]) }),
      [{ value: { a: "x" } }],
    ],
    [
      "ReadOnly",
      z.object({
        tags: z.array(z.string()).readonly(),
        fallback: z.string().catch("x"),
        pre: z.string().prefault("y"),
      }),
      [{ tags: ["a"], fallback: "x", pre: "y" }],
    ],
  ];
}

export function boxes(Type) {
  const label = Type.Union([Type.Literal("spam"), Type.Literal("ham")]);
  const address = Type.Object({ city: Type.String({ minLength: 1 }), postcode: Type.String({ pattern: "^\\d{5}$" }) });
  return [
    ["Route", Type.Object({ label, urgent: Type.Boolean() }), [{ label: "spam", urgent: true }]],
    ["Strict", Type.Object({ label }, { additionalProperties: false }), [{ label: "ham" }]],
    [
      "Optional",
      Type.Object({ label: Type.Optional(label), note: Type.Optional(Type.String()) }),
      [{}, { label: "ham", note: "" }],
    ],
    ["Nullable", Type.Object({ label: Type.Union([label, Type.Null()]) }), [{ label: null }]],
    ["Stars", Type.Object({ stars: Type.Integer({ minimum: 1, maximum: 5 }) }), [{ stars: 3 }]],
    [
      "Score",
      Type.Object({ score: Type.Number({ minimum: 0, maximum: 1 }), above: Type.Number({ exclusiveMinimum: 0 }) }),
      [{ score: 0.5, above: 1 }],
    ],
    ["Step", Type.Object({ step: Type.Integer({ multipleOf: 5 }) }), [{ step: 10 }]],
    ["Enum", Type.Object({ level: Type.Enum({ Low: 1, High: 2 }) }), [{ level: 2 }]],
    ["Address", address, [{ city: "Ulm", postcode: "89073" }]],
    [
      "Nested",
      Type.Object({ home: address, work: Type.Optional(address) }),
      [{ home: { city: "Ulm", postcode: "89073" } }],
    ],
    ["List", Type.Array(address, { minItems: 1, maxItems: 3 }), [[{ city: "Ulm", postcode: "89073" }]]],
    ["Unique", Type.Object({ tags: Type.Array(label, { uniqueItems: true }) }), [{ tags: ["spam", "ham"] }]],
    [
      "Contains",
      Type.Object({ tags: Type.Array(Type.String(), { contains: Type.Literal("a") }) }),
      [{ tags: ["b", "a"] }],
    ],
    ["Tuple", Type.Object({ pair: Type.Tuple([Type.Integer(), Type.String()]) }), [{ pair: [1, "a"] }]],
    ["Record", Type.Object({ counts: Type.Record(Type.String(), Type.Integer()) }), [{ counts: { a: 1 } }]],
    ["Keys", Type.Object({ by: Type.Record(label, Type.Boolean()) }), [{ by: { spam: true, ham: false } }]],
    [
      "Intersect",
      Type.Intersect([Type.Object({ a: Type.String() }), Type.Object({ b: Type.Number() })]),
      [{ a: "x", b: 1 }],
    ],
    [
      "Shut",
      Type.Intersect([Type.Object({ a: Type.String() }), Type.Object({ b: Type.Number() })], {
        unevaluatedProperties: false,
      }),
      [{ a: "x", b: 1 }],
    ],
    [
      "Composite",
      Type.Composite([address, Type.Object({ country: Type.String() })]),
      [{ city: "Ulm", postcode: "89073", country: "DE" }],
    ],
    ["Partial", Type.Partial(address), [{}, { city: "Ulm" }]],
    ["Pick", Type.Pick(address, ["city"]), [{ city: "Ulm" }]],
    ["Not", Type.Object({ name: Type.Intersect([Type.String(), Type.Not(Type.Literal("none"))]) }), [{ name: "Ada" }]],
    [
      "Recursive",
      Type.Recursive((This) => Type.Object({ label: Type.String(), children: Type.Array(This) })),
      [{ label: "a", children: [{ label: "b", children: [] }] }],
    ],
    ["Template", Type.Object({ code: Type.TemplateLiteral([Type.Literal("A-"), Type.Number()]) }), [{ code: "A-5" }]],
    ["Any", Type.Object({ any: Type.Any(), unknown: Type.Unknown() }), [{ any: 1, unknown: null }]],
    [
      "Described",
      Type.Object(
        { label: Type.String({ title: "t", description: "d", examples: ["a"], default: "a" }) },
        { $id: "Described" },
      ),
      [{ label: "a" }],
    ],
  ];
}
