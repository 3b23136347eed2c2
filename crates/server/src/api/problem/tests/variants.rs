//! Every variant of the errors of lower rooms, each in a list that does not compile without it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::api::admission::Refused;
use crate::residents::{self, Refusal};
use slm_engine::EngineError;
use slm_engine::compute::{ComputeError, KvType};
use slm_engine::memory::{self, Limit, Need, Room};
use slm_fit::FitLayerError;
use slm_infer::decide::QuestionError;
use slm_infer::infer::{InferError, StaleFit};
use slm_infer::load_spec::{CheckError, LoadSpecError};
use slm_remote::RemoteError;
use slm_store::registry::{Forbidden, RegistryError};
use slm_store::store::{StoreError, Unknown};
use slm_store::transfer::{PushError, ServerError, TransferError};
use slm_values::contract::{Contract, ContractError, Pointer, Violation};
use slm_values::digest::Digest;
use slm_values::gguf::GgufError;
use slm_values::manifest::ManifestError;
use slm_values::model_ref::{ModelRefError, NameFault};
use slm_values::modelfile::{ModelfileError, ModelfileFault};
use slm_values::peft::PeftError;
use slm_values::sampling::ParameterError;
use slm_values::source::SourceError;
use slm_values::template::{TemplateError, ThinkingError};
use slm_values::tools::ToolError;

/// A list with every variant of an error. One that is missing does not compile.
macro_rules! every {
    ($name:ident: $error:ty; $($pattern:pat => $value:expr,)*) => {
        pub fn $name() -> Vec<$error> {
            let _is_whole = |error: &$error| match error { $($pattern => {})* };
            vec![$($value),*]
        }
    };
}

/// A text that nothing of is looked for.
pub fn x() -> String {
    "x".to_owned()
}

fn path() -> PathBuf {
    PathBuf::from("x")
}

fn digest() -> Digest {
    Digest::of(b"x")
}

fn gone() -> io::Error {
    io::Error::other("x")
}

fn place() -> Pointer {
    match Contract::from_schema(json!({"type": "string"})) {
        Err(ContractError::Open { at, .. } | ContractError::Schema { at, .. }) => at,
        other => panic!("an open schema is not closed: {other:?}"),
    }
}

every! { computing: ComputeError;
    ComputeError::QuantizedWithoutFlashAttention(_) => ComputeError::QuantizedWithoutFlashAttention(KvType::Q8_0),
    ComputeError::UbatchAboveBatch { .. } => ComputeError::UbatchAboveBatch { n_ubatch: 128, n_batch: 64 },
    ComputeError::NoSuchDevice { .. } => ComputeError::NoSuchDevice { name: x(), known: x() },
    ComputeError::NoSuchGpu { .. } => ComputeError::NoSuchGpu { main_gpu: 3, n_gpus: 1 },
    ComputeError::LayersWithoutDevice { .. } => ComputeError::LayersWithoutDevice { layers: 3 },
    ComputeError::NoSuchKvType(_) => ComputeError::NoSuchKvType(x()),
    ComputeError::NoSuchFlashAttention(_) => ComputeError::NoSuchFlashAttention(x()),
    ComputeError::NoSuchKernels(_) => ComputeError::NoSuchKernels(x()),
}

fn shortage() -> memory::Shortage {
    let need = Need { weights: 1 << 30, cells: 1 << 30, n_ctx: 8192, kv_type: KvType::F16, buffers: 8 << 30 };
    memory::Shortage { need, room: Room { bytes: 1, limit: Limit::AddressSpace }, reason: Some(x()) }
}

every! { engines: EngineError;
    EngineError::Load { .. } => EngineError::Load { reason: x() },
    EngineError::Compute(_) => EngineError::Compute(ComputeError::NoSuchKvType(x())),
    EngineError::Memory(_) => EngineError::Memory(Box::new(shortage())),
    EngineError::Context { .. } => EngineError::Context { needed: 9, n_ctx: 8 },
    EngineError::SameTokens(..) => EngineError::SameTokens(x(), x()),
    EngineError::NoSuchToken(_) => EngineError::NoSuchToken(x()),
    EngineError::TokenOutOfRange { .. } => EngineError::TokenOutOfRange { id: 9, last: 8 },
    EngineError::Bias { .. } => EngineError::Bias { id: 1, bias: f32::NAN },
    EngineError::NoTurnEnd => EngineError::NoTurnEnd,
    EngineError::NoBranches => EngineError::NoBranches,
    EngineError::NoState(_) => EngineError::NoState(x()),
    EngineError::Layers { .. } => EngineError::Layers { wanted: 3, n_layers: 3 },
    EngineError::TextTooLong { .. } => EngineError::TextTooLong { n_tokens: 9, limit: 8, n_ctx_train: 512 },
    EngineError::NoText(_) => EngineError::NoText(x()),
    EngineError::EmptyText => EngineError::EmptyText,
    EngineError::EmptyPrompt => EngineError::EmptyPrompt,
    EngineError::Adapter { .. } => EngineError::Adapter { path: path(), reason: x() },
    EngineError::VocabularyOnly => EngineError::VocabularyOnly,
    EngineError::Grammar { .. } => EngineError::Grammar { reason: x() },
    EngineError::Decode { .. } => EngineError::Decode { reason: x() },
    EngineError::Crashed { .. } => EngineError::Crashed { how: x() },
    EngineError::Disconnected { .. } => EngineError::Disconnected { reason: x() },
    EngineError::Unsendable { .. } => EngineError::Unsendable { reason: x() },
    EngineError::Cancelled => EngineError::Cancelled,
    EngineError::Stopped => EngineError::Stopped,
}

every! { templates: TemplateError;
    TemplateError::Syntax { .. } => TemplateError::Syntax { language: "x", reason: x() },
    TemplateError::TooLong { .. } => TemplateError::TooLong { bytes: 9, limit: 8 },
    TemplateError::Refused { .. } => TemplateError::Refused { message: x() },
    TemplateError::Failed { .. } => TemplateError::Failed { reason: x() },
}

every! { thinking: ThinkingError;
    ThinkingError::Never => ThinkingError::Never,
    ThinkingError::Always => ThinkingError::Always,
}

every! { tools: ToolError;
    ToolError::Type { .. } => ToolError::Type { at: x(), found: "x", expected: "x" },
    ToolError::Missing { .. } => ToolError::Missing { at: x() },
    ToolError::Unknown { .. } => ToolError::Unknown { at: x(), known: x() },
    ToolError::Value { .. } => ToolError::Value { at: x(), found: x(), known: "x" },
    ToolError::Name { .. } => ToolError::Name { at: x(), name: x() },
    ToolError::Twice { .. } => ToolError::Twice { at: x(), name: x() },
    ToolError::NoSuchTool { .. } => ToolError::NoSuchTool { at: x(), name: x(), known: x() },
    ToolError::NoTools { .. } => ToolError::NoTools { at: x() },
    ToolError::TooMany { .. } => ToolError::TooMany { at: x(), n: 9, limit: 8 },
    ToolError::TooLarge { .. } => ToolError::TooLarge { at: x(), n_bytes: 9, limit: 8 },
    ToolError::TooDeep { .. } => ToolError::TooDeep { at: x(), limit: 8 },
    ToolError::NotJson { .. } => ToolError::NotJson { at: x(), reason: x() },
    ToolError::Parameters { .. } => ToolError::Parameters { at: x(), error: ContractError::Regex(x()) },
}

every! { inferring: InferError;
    InferError::Template(_) => InferError::Template(TemplateError::Refused { message: x() }),
    InferError::Engine(_) => InferError::Engine(EngineError::Stopped),
    InferError::Thinking => InferError::Thinking,
    InferError::NoVector => InferError::NoVector,
    InferError::Think(_) => InferError::Think(ThinkingError::Never),
    InferError::ThinkingAndForm => InferError::ThinkingAndForm,
    InferError::NoInfill => InferError::NoInfill,
    InferError::ToolsAndForm => InferError::ToolsAndForm,
    InferError::BiasAndClosed => InferError::BiasAndClosed,
    InferError::StaleFit(_) => InferError::StaleFit(StaleFit::Prompt),
    InferError::FitState { .. } => InferError::FitState { wanted: 2, found: None },
    InferError::Tools(_) => InferError::Tools(ToolError::Missing { at: x() }),
    InferError::Remote(_) => InferError::Remote(RemoteError::Unfinished.into()),
    InferError::Waits => InferError::Waits,
    InferError::NotInBatch(_) => InferError::NotInBatch(x()),
    InferError::Exhausted { .. } => InferError::Exhausted { why: x() },
    InferError::Elsewhere { .. } => InferError::Elsewhere { who: "remote", what: "x" },
}

every! { stale: StaleFit;
    StaleFit::Weights => StaleFit::Weights,
    StaleFit::Adapters => StaleFit::Adapters,
    StaleFit::Template => StaleFit::Template,
    StaleFit::Instructions => StaleFit::Instructions,
    StaleFit::Conversation => StaleFit::Conversation,
    StaleFit::Beginning => StaleFit::Beginning,
    StaleFit::Given => StaleFit::Given,
    StaleFit::Wording => StaleFit::Wording,
    StaleFit::Prompt => StaleFit::Prompt,
    StaleFit::Reading => StaleFit::Reading,
    StaleFit::Computation { .. } => StaleFit::Computation { made: x(), here: x() },
}

every! { contracts: ContractError;
    ContractError::NotJson(_) => ContractError::NotJson(x()),
    ContractError::Schema { .. } => ContractError::Schema { at: place(), reason: x() },
    ContractError::Open { .. } => ContractError::Open { at: place(), what: x() },
    ContractError::Choices { .. } => ContractError::Choices { list: x(), reason: x() },
    ContractError::Regex(_) => ContractError::Regex(x()),
    ContractError::Grammar(_) => ContractError::Grammar(x()),
}

every! { violations: Violation;
    Violation::NotJson(_) => Violation::NotJson(x()),
    Violation::Schema { .. } => Violation::Schema { at: place(), reason: x() },
    Violation::Regex => Violation::Regex,
    Violation::Length => Violation::Length,
}

every! { ggufs: GgufError;
    GgufError::Io(_) => GgufError::Io(gone()),
    GgufError::Truncated { .. } => GgufError::Truncated { file_len: 9 },
    GgufError::Magic(_) => GgufError::Magic(x()),
    GgufError::BigEndian => GgufError::BigEndian,
    GgufError::Version(_) => GgufError::Version(9),
    GgufError::TooMany { .. } => GgufError::TooMany { what: "x", n: 9, limit: 8 },
    GgufError::TooLong { .. } => GgufError::TooLong { what: x(), n_bytes: 9, limit: 8 },
    GgufError::NotUtf8 { .. } => GgufError::NotUtf8 { what: x() },
    GgufError::Name { .. } => GgufError::Name { what: "x", value: x() },
    GgufError::DuplicateKey(_) => GgufError::DuplicateKey(x()),
    GgufError::ValueType { .. } => GgufError::ValueType { key: x(), kind: 9 },
    GgufError::NestedArray(_) => GgufError::NestedArray(x()),
    GgufError::Alignment(_) => GgufError::Alignment(x()),
    GgufError::DuplicateTensor(_) => GgufError::DuplicateTensor(x()),
    GgufError::Tensor { .. } => GgufError::Tensor { tensor: x(), reason: x() },
    GgufError::Overflow => GgufError::Overflow,
    GgufError::MissingKey(_) => GgufError::MissingKey(x()),
    GgufError::Key { .. } => GgufError::Key { key: x(), value: x(), expected: x() },
    GgufError::Vocabulary(_) => GgufError::Vocabulary(x()),
    GgufError::Tokenizer(_) => GgufError::Tokenizer(x()),
    GgufError::Split(_) => GgufError::Split(9),
    GgufError::Whole => GgufError::Whole,
    GgufError::Shards(_) => GgufError::Shards(x()),
    GgufError::NotAModel(_) => GgufError::NotAModel(x()),
    GgufError::NotAnAdapter { .. } => GgufError::NotAnAdapter { key: "x", value: x(), expected: "x" },
    GgufError::AdapterArchitecture { .. } => GgufError::AdapterArchitecture { adapter: x(), base: x() },
    GgufError::ActivatedAdapter => GgufError::ActivatedAdapter,
    GgufError::EmptyAdapter => GgufError::EmptyAdapter,
}

every! { pefts: PeftError;
    PeftError::Config(_) => PeftError::Config(x()),
    PeftError::Unsupported(..) => PeftError::Unsupported(x(), "x"),
    PeftError::Safetensors(_) => PeftError::Safetensors(x()),
    PeftError::Tensor { .. } => PeftError::Tensor { tensor: x(), reason: x() },
    PeftError::Architecture(_) => PeftError::Architecture(x()),
    PeftError::Base(_) => PeftError::Base(GgufError::Overflow),
}

every! { manifests: ManifestError;
    ManifestError::TooLarge { .. } => ManifestError::TooLarge { n_bytes: 9 },
    ManifestError::Json(_) => ManifestError::Json(serde_json::from_str::<u8>("x").unwrap_err()),
    ManifestError::SchemaVersion(_) => ManifestError::SchemaVersion(9),
    ManifestError::DuplicateLayer { .. } => ManifestError::DuplicateLayer { media_type: x(), digest: digest() },
    ManifestError::TwoSizes(_) => ManifestError::TwoSizes(digest()),
    ManifestError::LayerSize { .. } => ManifestError::LayerSize { media_type: x(), n_bytes: 9 },
}

every! { names: NameFault;
    NameFault::Empty(_) => NameFault::Empty("x"),
    NameFault::TooLong { .. } => NameFault::TooLong { part: "x", n_chars: 9, limit: 8 },
    NameFault::Beginning { .. } => NameFault::Beginning { part: "x", character: 'x' },
    NameFault::Character { .. } => NameFault::Character { part: "x", character: 'x' },
    NameFault::Port(_) => NameFault::Port(x()),
    NameFault::HostWithoutNamespace(_) => NameFault::HostWithoutNamespace(x()),
    NameFault::TooManyParts => NameFault::TooManyParts,
    NameFault::Scheme(_) => NameFault::Scheme(x()),
}

pub fn name_error(reason: NameFault) -> ModelRefError {
    ModelRefError { name: x(), reason }
}

every! { sources: SourceError;
    SourceError::Name(_) => SourceError::Name(name_error(NameFault::TooManyParts)),
    SourceError::Digest(_) => SourceError::Digest("x".parse::<Digest>().unwrap_err()),
    SourceError::Url { .. } => SourceError::Url { url: x(), reason: x() },
}

every! { modelfiles: ModelfileFault;
    ModelfileFault::Instruction { .. } => ModelfileFault::Instruction { name: x(), nearest: "x" },
    ModelfileFault::NoValue(_) => ModelfileFault::NoValue("x"),
    ModelfileFault::Unclosed(_) => ModelfileFault::Unclosed("x"),
    ModelfileFault::Twice(_) => ModelfileFault::Twice("x"),
    ModelfileFault::Version(_) => ModelfileFault::Version(x()),
    ModelfileFault::From(_) => ModelfileFault::From(SourceError::Url { url: x(), reason: x() }),
    ModelfileFault::NoFrom => ModelfileFault::NoFrom,
    ModelfileFault::Parameter(_) => ModelfileFault::Parameter(ParameterError::NotAnObject { value: x() }),
    ModelfileFault::Role(_) => ModelfileFault::Role(x()),
    ModelfileFault::FormatJson(_) => ModelfileFault::FormatJson(x()),
    ModelfileFault::FormatKind(_) => ModelfileFault::FormatKind(x()),
    ModelfileFault::AdapterScale(_) => ModelfileFault::AdapterScale(x()),
    ModelfileFault::FormatPath => ModelfileFault::FormatPath,
    ModelfileFault::ExamplesPath => ModelfileFault::ExamplesPath,
    ModelfileFault::ExamplesCount(_) => ModelfileFault::ExamplesCount(x()),
    ModelfileFault::ExamplesBy(..) => ModelfileFault::ExamplesBy(x(), x()),
}

every! { stores: StoreError;
    StoreError::Io { .. } => StoreError::Io { action: "x", path: path(), source: gone() },
    StoreError::DiskFull { .. } => StoreError::DiskFull { path: path(), needed_bytes: Some(9), free_bytes: Some(8) },
    StoreError::NotFound(_) => StoreError::NotFound(Box::new(Unknown {
        name: "x".parse().unwrap(),
        existing: vec!["y".parse().unwrap(); 20],
        nearest: Vec::new(),
    })),
    StoreError::Spelling { .. } => StoreError::Spelling { name: "X".parse().unwrap(), alike: Vec::new() },
    StoreError::RemoveEmbedded(_) => StoreError::RemoveEmbedded("x".parse().unwrap()),
    StoreError::NotAFile(_) => StoreError::NotAFile(path()),
    StoreError::HomePath(_) => StoreError::HomePath(x()),
    StoreError::Gguf { .. } => StoreError::Gguf { path: path(), source: GgufError::Overflow },
    StoreError::VocabularyOnly(_) => StoreError::VocabularyOnly(path()),
    StoreError::MissingShard { .. } => StoreError::MissingShard { path: path(), of: path(), n_files: 2 },
    StoreError::ShardName { .. } => StoreError::ShardName { path: path(), ending: x() },
    StoreError::Changed(_) => StoreError::Changed(path()),
    StoreError::Manifest { .. } => StoreError::Manifest { path: path(), source: ManifestError::SchemaVersion(9) },
    StoreError::Layers { .. } => StoreError::Layers { path: path(), reason: x() },
    StoreError::Blob { .. } => StoreError::Blob { path: path(), reason: x() },
    StoreError::Fit { .. } => StoreError::Fit { path: path(), reason: x() },
    StoreError::FitLayers { .. } => StoreError::FitLayers { path: path(), n_cards: 1, n_numbers: 0 },
    StoreError::OtherBytes { .. } => StoreError::OtherBytes { expected: digest(), found: digest() },
    StoreError::Adapter { .. } => StoreError::Adapter { path: path(), source: GgufError::EmptyAdapter },
    StoreError::Peft { .. } => StoreError::Peft { path: path(), source: PeftError::Architecture(x()) },
    StoreError::NoAdapter(_) => StoreError::NoAdapter(path()),
    StoreError::AdapterTwice(_) => StoreError::AdapterTwice(path()),
    StoreError::NoWeights(_) => StoreError::NoWeights("remote"),
    StoreError::Schema { .. } => StoreError::Schema { path: path(), reason: x() },
    StoreError::Examples { .. } => StoreError::Examples { path: path(), reason: x() },
    StoreError::NoEmbedder { .. } => StoreError::NoEmbedder { name: x(), reason: x() },
    StoreError::Context { .. } => StoreError::Context { asked: 2, trained: 1 },
    StoreError::EmbeddedModelfile(_) => {
        StoreError::EmbeddedModelfile(ModelfileError { line: 1, column: 1, reason: ModelfileFault::NoFrom })
    },
}

every! { forbidden: Forbidden;
    Forbidden::NotPublic => Forbidden::NotPublic,
    Forbidden::NoTls => Forbidden::NoTls,
    Forbidden::NotWeb => Forbidden::NotWeb,
    Forbidden::ForeignRealm => Forbidden::ForeignRealm,
}

every! { registries: RegistryError;
    RegistryError::Unreachable { .. } => RegistryError::Unreachable { host: x(), reason: x() },
    RegistryError::Dropped { .. } => RegistryError::Dropped { host: x(), reason: x() },
    RegistryError::Stalled { .. } => RegistryError::Stalled { host: x(), seconds: 9 },
    RegistryError::NotFound { .. } => RegistryError::NotFound { host: x(), what: x() },
    RegistryError::Unauthorized { .. } => RegistryError::Unauthorized { host: x(), hint: x() },
    RegistryError::Refused { .. } => RegistryError::Refused { host: x(), status: 400, text: x() },
    RegistryError::Denied { .. } => RegistryError::Denied { host: x(), path: x(), text: x() },
    RegistryError::Busy { .. } => RegistryError::Busy { host: x(), status: 429, after: None },
    RegistryError::Failed { .. } => RegistryError::Failed { host: x(), status: 500, text: x() },
    RegistryError::Plain { .. } => RegistryError::Plain { host: x() },
    RegistryError::Forbidden { .. } => RegistryError::Forbidden { from: x(), to: x(), why: Forbidden::NotPublic },
    RegistryError::Redirects { .. } => RegistryError::Redirects { host: x(), limit: 9 },
    RegistryError::Expired { .. } => {
        RegistryError::Expired { host: x(), source: Box::new(RegistryError::Plain { host: x() }) }
    },
    RegistryError::Changed { .. } => RegistryError::Changed { host: x(), what: x() },
    RegistryError::UploadLost { .. } => RegistryError::UploadLost { host: x() },
    RegistryError::NoParts { .. } => RegistryError::NoParts { host: x(), status: 400 },
    RegistryError::OtherBlob { .. } => RegistryError::OtherBlob { host: x(), digest: x(), text: x() },
    RegistryError::WrongRange { .. } => RegistryError::WrongRange { host: x(), asked: x(), got: x() },
    RegistryError::NoSize { .. } => RegistryError::NoSize { host: x(), what: x() },
    RegistryError::TooLarge { .. } => RegistryError::TooLarge { host: x(), what: x(), limit: 9 },
    RegistryError::Protocol { .. } => RegistryError::Protocol { host: x(), what: x() },
    RegistryError::Manifest { .. } => RegistryError::Manifest { host: x(), source: ManifestError::SchemaVersion(9) },
    RegistryError::OtherManifest { .. } => RegistryError::OtherManifest { host: x(), expected: x(), found: x() },
    RegistryError::DockerConfig { .. } => RegistryError::DockerConfig { path: path(), reason: x() },
    RegistryError::Credentials { .. } => RegistryError::Credentials { host: x(), reason: x() },
    RegistryError::Address(_) => RegistryError::Address(x()),
    RegistryError::Setup(_) => RegistryError::Setup(x()),
}

every! { places: ServerError;
    ServerError::NoServer { .. } => ServerError::NoServer { what: "x", text: x() },
    ServerError::Nowhere { .. } => ServerError::Nowhere { name: x(), model: x() },
}

every! { transfers: TransferError;
    TransferError::Registry { .. } => TransferError::Registry { name: x(), source: RegistryError::Setup(x()) },
    TransferError::Broken { .. } => TransferError::Broken { name: x(), source: RegistryError::Setup(x()) },
    TransferError::Manifest { .. } => TransferError::Manifest { name: x(), source: ManifestError::SchemaVersion(9) },
    TransferError::NoModel { .. } => TransferError::NoModel { name: x(), reason: x() },
    TransferError::Store { .. } => TransferError::Store { name: x(), source: Box::new(StoreError::NotAFile(path())) },
    TransferError::NoName { .. } => TransferError::NoName { url: x() },
}

every! { pushes: PushError;
    PushError::Registry { .. } => PushError::Registry { name: x(), source: RegistryError::Setup(x()) },
    PushError::Broken { .. } => PushError::Broken { name: x(), source: RegistryError::Setup(x()) },
    PushError::Store(_) => PushError::Store(StoreError::NotAFile(path())),
    PushError::Damaged { .. } => PushError::Damaged { name: x(), expected: digest(), found: digest() },
    PushError::Unreadable { .. } => PushError::Unreadable { name: x(), source: StoreError::NotAFile(path()) },
    PushError::Pinned { .. } => PushError::Pinned { name: x(), expected: digest(), found: digest() },
}

every! { openings: LoadSpecError;
    LoadSpecError::Store(_) => LoadSpecError::Store(StoreError::NotAFile(path())),
    LoadSpecError::Template { .. } => {
        LoadSpecError::Template { name: x(), error: TemplateError::Refused { message: x() } }
    },
    LoadSpecError::Format { .. } => LoadSpecError::Format { name: x(), error: ContractError::Regex(x()) },
    LoadSpecError::Cascade { .. } => LoadSpecError::Cascade { name: x(), error: x() },
    LoadSpecError::Remote { .. } => LoadSpecError::Remote { name: x(), error: x() },
    LoadSpecError::Fit { .. } => LoadSpecError::Fit { name: x(), error: FitLayerError::Card(x()) },
    LoadSpecError::FormatFile { .. } => LoadSpecError::FormatFile { name: x(), path: x() },
}

every! { parts: CheckError;
    CheckError::Format(_) => CheckError::Format(ContractError::Regex(x())),
    CheckError::Template(_) => CheckError::Template(TemplateError::Refused { message: x() }),
    CheckError::Message { .. } => CheckError::Message { number: 1, violation: Violation::NotJson(x()) },
}

every! { refusals: Refusal;
    Refusal::Load(_) => Refusal::Load(EngineError::Stopped),
    Refusal::TooLarge(_) => Refusal::TooLarge(residents::Shortage { need: 9, room: 8, n_ctx: 512 }),
    Refusal::Closing => Refusal::Closing,
}

every! { admissions: Refused;
    Refused::Busy { .. } => Refused::Busy { n_queued: 9, retry_after: Duration::from_secs(1) },
    Refused::TimedOut { .. } => Refused::TimedOut { waited: Duration::from_secs(1) },
}

every! { questions: QuestionError;
    QuestionError::Choices(_) => QuestionError::Choices(9),
    QuestionError::Levels { .. } => QuestionError::Levels { n: 9, most: 8 },
    QuestionError::Meanings => QuestionError::Meanings,
    QuestionError::Empty => QuestionError::Empty,
    QuestionError::Twice(_) => QuestionError::Twice(x()),
}
