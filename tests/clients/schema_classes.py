"""The classes that people write for classification, extraction and routing, each with objects of it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import ipaddress
import pathlib
import uuid
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, Optional, TypeVar, Union

import pydantic
from pydantic import UUID4, BaseModel, ConfigDict, Field, RootModel, computed_field
from typing_extensions import TypedDict

T = TypeVar("T")
NOON = dt.datetime(2026, 3, 1, 12, 30, tzinfo=dt.timezone.utc)
ID = uuid.UUID("7d444840-9dc0-4f2f-8b1c-1f2a3b4c5d6e")


class Sentiment(enum.StrEnum):
    """How a text feels."""

    POSITIVE = "positive"
    NEGATIVE = "negative"
    NEUTRAL = "neutral"


class Priority(enum.IntEnum):
    LOW = 1
    HIGH = 2
    URGENT = 3


class Mixed(enum.Enum):
    NAME = "name"
    NUMBER = 7


class Route(BaseModel):
    """Where a message goes."""

    department: Literal["sales", "support", "billing"] = Field(description="Who answers it")
    is_urgent: bool


class Review(BaseModel):
    sentiment: Sentiment
    stars: Annotated[int, Field(ge=1, le=5)]
    is_spam: bool = False


class Ticket(BaseModel):
    priority: Priority
    kind: Mixed
    team: Optional[Sentiment] = None
    language: Literal["de", "en", "fr", None] = None


class Verdict(BaseModel):
    model_config = ConfigDict(extra="forbid", title="A verdict", json_schema_extra={"examples": [{"answer": "yes"}]})
    answer: Literal["yes", "no"]
    certainty: Literal[0, 1, 2, 3]
    version: Literal["v1"] = "v1"


class Address(BaseModel):
    street: str
    city: str = Field(min_length=1, max_length=80, examples=["Berlin"])
    postcode: Annotated[str, Field(pattern=r"^\d{5}$")]
    country: Optional[str] = None


class Person(BaseModel):
    """A person in a text."""

    name: str = Field(description="As it is written", examples=["Ada Lovelace"])
    age: Optional[int] = Field(default=None, ge=0, le=150)
    address: Optional[Address] = None
    emails: list[str] = []


class People(BaseModel):
    people: list[Person]
    total: pydantic.NonNegativeInt


class Tags(BaseModel):
    tags: set[Literal["news", "sport", "art"]]
    feelings: frozenset[Sentiment] = frozenset()
    words: set[str] = Field(default_factory=set, max_length=5)
    numbers: set[int] = set()


class Pair(BaseModel):
    pair: tuple[int, str]
    several: tuple[float, ...]
    nested: tuple[Sentiment, tuple[bool, bool]]


class Point(NamedTuple):
    x: int
    y: int = 0


class Shape(BaseModel):
    points: list[Point] = Field(min_length=1)


class Counts(BaseModel):
    counts: dict[str, int]
    by_feeling: dict[Sentiment, float] = {}
    by_kind: dict[Literal["a", "b"], bool] = {}
    by_number: dict[int, str] = {}


class Directory(BaseModel):
    people: dict[str, Person]
    notes: dict[str, Any] = {}


class Invoice(BaseModel):
    number: Annotated[str, Field(pattern=r"^INV-[0-9]{4,6}$")]
    total: decimal.Decimal
    tax: Annotated[decimal.Decimal, Field(ge=0, max_digits=10, decimal_places=2)]
    date: dt.date
    due: Optional[dt.date] = None


class Amount(BaseModel):
    """The pattern is the one that pydantic 2.12 wrote for decimals."""

    model_config = ConfigDict(regex_engine="python-re")
    amount: Annotated[str, Field(pattern=r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$")]
    currency: Literal["EUR", "USD"]


class Event(BaseModel):
    id: uuid.UUID
    starts: dt.datetime
    daily: dt.time
    lasts: dt.timedelta
    on: dt.date


class Identifiers(BaseModel):
    one: pydantic.UUID1
    three: pydantic.UUID3
    four: UUID4
    five: pydantic.UUID5


class Blob(BaseModel):
    raw: bytes
    encoded: pydantic.Base64Bytes
    text: pydantic.Base64Str


class Account(BaseModel):
    user: str
    password: pydantic.SecretStr
    token: Optional[pydantic.SecretBytes] = None


class Contact(BaseModel):
    email: pydantic.EmailStr
    site: pydantic.HttpUrl
    any_site: Optional[pydantic.AnyUrl] = None


class Host(BaseModel):
    v4: ipaddress.IPv4Address
    v6: ipaddress.IPv6Address
    any_address: pydantic.IPvAnyAddress
    network: ipaddress.IPv4Network
    home: pathlib.Path


class Measure(BaseModel):
    score: Annotated[float, Field(ge=0, le=1)]
    percent: pydantic.confloat(gt=0, lt=100)
    step: Annotated[int, Field(multiple_of=5)]
    count: pydantic.conint(ge=0)
    code: pydantic.constr(min_length=2, max_length=4, to_upper=True)
    ratio: Annotated[float, Field(multiple_of=0.5)] = 1.0
    positive: pydantic.PositiveFloat = 1.0
    finite: pydantic.FiniteFloat = 0.0


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    breed: Literal["pug", "husky"]


class Owner(BaseModel):
    pet: Union[Cat, Dog] = Field(discriminator="kind")
    others: list[Annotated[Union[Cat, Dog], Field(discriminator="kind")]] = []


class Search(BaseModel):
    action: Literal["search"]
    query: str


class Stop(BaseModel):
    model_config = ConfigDict(extra="forbid")
    action: Literal["stop"]
    reason: Optional[Literal["done", "stuck"]] = None


class Step(BaseModel):
    thought: str
    action: Union[Search, Stop]


class Loose(BaseModel):
    value: Union[int, str, bool, None]
    either: Union[float, list[float]]
    one_of_models: Union[Cat, Address, str]


class Tree(BaseModel):
    label: str
    children: list[Tree] = []


class Folder(BaseModel):
    name: str
    files: list[File]


class File(BaseModel):
    size: pydantic.NonNegativeInt
    parent: Optional[Folder] = None


class Chain(BaseModel):
    value: Literal["a", "b"]
    next: Optional[Chain] = None


class Aliased(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    first_name: str = Field(alias="firstName")
    zip_code: int = Field(alias="zip/code ~0%25")
    shown: bool = Field(False, serialization_alias="is shown")
    class_: Literal["a", "b"] = Field(alias="class")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    label: Literal["spam", "ham"]
    reason: Annotated[str, Field(max_length=200, deprecated="use `label`")] = ""


class OpenEnded(BaseModel):
    model_config = ConfigDict(extra="allow")
    label: Sentiment


class Typed(BaseModel):
    __pydantic_extra__: dict[str, int]
    model_config = ConfigDict(extra="allow")
    label: str


class Labels(RootModel[list[Sentiment]]):
    """Labels alone."""


class Scores(RootModel[dict[str, Annotated[float, Field(ge=0, le=1)]]]):
    pass


class Answer(RootModel[Literal["yes", "no", "unknown"]]):
    pass


class Page(BaseModel, Generic[T]):
    items: list[T]
    next: Optional[int] = None
    best: Optional[T] = None


class Movie(TypedDict):
    title: str
    year: Annotated[int, Field(ge=1888, le=2100)]
    genre: NotRequired[Literal["drama", "comedy"]]


class Cinema(BaseModel):
    movies: list[Movie]


@dataclasses.dataclass
class Place:
    name: str
    latitude: float = 0.0
    kind: Literal["city", "river"] = "city"


@pydantic.dataclasses.dataclass
class Trip:
    places: list[Place]
    days: Annotated[int, Field(gt=0)]


class Rectangle(BaseModel):
    width: pydantic.PositiveInt
    height: pydantic.PositiveInt

    @computed_field(description="width times height")
    @property
    def area(self) -> int:
        return self.width * self.height


class Anything(BaseModel):
    anything: Any
    values: list[Any]
    mapping: dict
    rows: list
    json_text: pydantic.Json[list[int]] = []


class Described(BaseModel):
    """A class with everything that describes."""

    label: Annotated[
        Literal["a", "b"],
        Field(title="The label", description="a: good; b: bad", examples=["a"], json_schema_extra={"x-order": 1}),
    ] = "a"
    old: Annotated[bool, Field(deprecated=True)] = False
    note: str = Field(default="none", json_schema_extra={"writeOnly": True, "format": "markdown"})
    level: int = Field(json_schema_extra={"enum": [1, 2, 3], "enumDescriptions": ["low", "middle", "high"]})


class Moderation(BaseModel):
    flagged: bool
    categories: dict[Literal["hate", "violence", "self-harm"], bool]
    scores: dict[Literal["hate", "violence", "self-harm"], Annotated[float, Field(ge=0, le=1)]]
    severity: Annotated[int, Field(ge=0, le=10)]


class Intent(BaseModel):
    intent: Literal["book", "cancel", "ask"]
    slots: dict[str, Union[str, int, None]]
    confidence: Annotated[float, Field(ge=0, le=1)]
    follow_up: Optional[str] = Field(None, max_length=100)


class Entity(BaseModel):
    text: str
    label: Literal["PER", "ORG", "LOC"]
    span: tuple[pydantic.NonNegativeInt, pydantic.NonNegativeInt]


class Extraction(BaseModel):
    entities: Annotated[list[Entity], Field(max_length=20)]
    relations: list[tuple[str, Literal["works_for", "lives_in"], str]] = []
    summary: Annotated[str, Field(min_length=1, max_length=300)]
    topics: Annotated[list[Literal["a", "b", "c"]], Field(min_length=1, max_length=3)]


PERSON = Person(
    name="Ada", age=36, address=Address(street="Weg 1", city="Ulm", postcode="89073"), emails=["ada@example.org"]
)
TREE = Tree(label="root", children=[Tree(label="leaf"), Tree(label="twig", children=[Tree(label="leaf")])])

# A type, and objects of it.
CLASSES: list[tuple[Any, list[Any]]] = [
    (Route, [Route(department="sales", is_urgent=True), Route(department="billing", is_urgent=False)]),
    (Review, [Review(sentiment="neutral", stars=5), Review(sentiment="negative", stars=1, is_spam=True)]),
    (Ticket, [Ticket(priority=2, kind=7), Ticket(priority=3, kind="name", team="positive", language="de")]),
    (Verdict, [Verdict(answer="yes", certainty=3)]),
    (Address, [PERSON.address, Address(street="", city="Bonn", postcode="53111", country="DE")]),
    (Person, [PERSON, Person(name="Bo")]),
    (People, [People(people=[PERSON, Person(name="Bo")], total=2), People(people=[], total=0)]),
    (Tags, [Tags(tags={"news", "art"}, feelings={"positive"}, words={"a", "b"}, numbers={1, 2}), Tags(tags=set())]),
    (Pair, [Pair(pair=(1, "a"), several=(1.5, 2.0), nested=("neutral", (True, False)))]),
    (Shape, [Shape(points=[Point(1, 2), Point(3)])]),
    (Counts, [Counts(counts={"a": 1}, by_feeling={"neutral": 0.5}, by_kind={"a": True}, by_number={1: "x"})]),
    (Directory, [Directory(people={"ada": PERSON}, notes={"x": [1, None, {"y": "z"}]})]),
    (Invoice, [Invoice(number="INV-12345", total="10.50", tax="1.99", date="2026-03-01", due="2026-04-01")]),
    (Amount, [Amount(amount="-10.50", currency="EUR")]),
    (
        Event,
        [
            Event(id=ID, starts=NOON, daily="08:30:00", lasts=dt.timedelta(hours=1, minutes=5), on="2026-03-01"),
            Event(id=ID, starts=NOON, daily="08:30:00Z", lasts=dt.timedelta(seconds=1.5), on="2026-03-01"),
        ],
    ),
    (
        Identifiers,
        [
            Identifiers(
                one="5e8b6a3c-15a9-11ef-9262-0242ac120002",
                three=uuid.uuid3(uuid.NAMESPACE_DNS, "a"),
                four=ID,
                five=uuid.uuid5(uuid.NAMESPACE_DNS, "a"),
            )
        ],
    ),
    (Blob, [Blob(raw=b"abc", encoded=b"aGVsbG8=", text="aGVsbG8=")]),
    (Account, [Account(user="ada", password="secret", token=b"x")]),
    (Contact, [Contact(email="ada@example.org", site="https://example.org/a?b=c")]),
    (Host, [Host(v4="10.0.0.1", v6="::1", any_address="10.0.0.2", network="10.0.0.0/8", home="/home/ada")]),
    (Measure, [Measure(score=0.5, percent=12.5, step=10, count=0, code="AB", ratio=2.5)]),
    (Owner, [Owner(pet=Cat(kind="cat", lives=9), others=[Dog(breed="pug")]), Owner(pet=Dog(breed="husky"))]),
    (
        Step,
        [Step(thought="t", action=Search(action="search", query="q")), Step(thought="", action=Stop(action="stop"))],
    ),
    (
        Loose,
        [Loose(value=None, either=[1.0], one_of_models="x"), Loose(value=1, either=2.5, one_of_models=PERSON.address)],
    ),
    (Tree, [TREE, Tree(label="")]),
    (Folder, [Folder(name="a", files=[File(size=1, parent=Folder(name="b", files=[]))])]),
    (Chain, [Chain(value="a", next=Chain(value="b"))]),
    (Aliased, [Aliased.model_validate({"firstName": "Ada", "zip/code ~0%25": 1, "class": "a"})]),
    (Strict, [Strict(label="spam", reason="adverts")]),
    (OpenEnded, [OpenEnded(label="neutral"), OpenEnded.model_validate({"label": "neutral", "more": [1]})]),
    (Typed, [Typed.model_validate({"label": "x", "more": 2})]),
    (Labels, [Labels(["positive", "neutral"]), Labels([])]),
    (Scores, [Scores({"a": 0.5})]),
    (Answer, [Answer("yes")]),
    (Page[Route], [Page[Route](items=[Route(department="sales", is_urgent=False)], next=2)]),
    (Page[Sentiment], [Page[Sentiment](items=["neutral"], best="positive")]),
    (Movie, [{"title": "M", "year": 1931, "genre": "drama"}, {"title": "Alien", "year": 1979}]),
    (Cinema, [Cinema(movies=[{"title": "M", "year": 1931}])]),
    (Place, [Place("Ulm", 48.4), Place("Elbe", kind="river")]),
    (Trip, [Trip(places=[Place("Ulm")], days=3)]),
    (Rectangle, [Rectangle(width=2, height=3)]),
    (Anything, [Anything(anything=None, values=[1, "a"], mapping={"a": {}}, rows=[[]])]),
    (Described, [Described(level=2), Described(label="b", level=1, note="x")]),
    (
        Moderation,
        [Moderation(flagged=True, categories={"hate": True}, scores={"violence": 0.25}, severity=4)],
    ),
    (Intent, [Intent(intent="book", slots={"city": "Ulm", "n": 2, "date": None}, confidence=0.9)]),
    (
        Extraction,
        [
            Extraction(
                entities=[Entity(text="Ada", label="PER", span=(0, 3))],
                relations=[("Ada", "lives_in", "Ulm")],
                summary="Ada lives in Ulm.",
                topics=["a", "c"],
            )
        ],
    ),
    (Literal["spam", "ham"], ["spam", "ham"]),
    (Sentiment, [Sentiment.NEUTRAL]),
    (bool, [True, False]),
    (Annotated[int, Field(ge=1, le=10)], [3]),
    (list[Route], [[Route(department="sales", is_urgent=True)], []]),
    (Union[Cat, Dog], [Cat(kind="cat", lives=1), Dog(breed="pug")]),
    (Optional[Sentiment], [None, Sentiment.POSITIVE]),
]
