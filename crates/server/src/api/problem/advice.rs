//! What can be done about a problem, and the parts of a request that it is about, before a dialect names them.

/// A part of a request that rooms which know no dialect can find at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Whether the model thinks before it answers.
    Think,
    /// The form of the answer.
    Form,
    /// The tools that the model may call.
    Tools,
    /// What is added to the logits of tokens.
    Bias,
    /// What comes after a gap.
    Suffix,
    /// The chat template in place of the model's.
    Template,
    /// Tokens of context.
    Context,
    /// Tokens of the answer at most.
    AnswerTokens,
    /// Tokens of a decode.
    Batch,
    /// Layers on GPUs.
    GpuLayers,
    /// The GPU that holds small tensors.
    MainGpu,
    /// Whether a registry may be spoken to without TLS.
    Insecure,
    /// Whether closed answers are fitted.
    Fit,
}

/// Something that the client, or whoever runs the server, can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advice {
    ShortenPrompt,
    ShortenText,
    Raise(Part),
    Lower(Part),
    LeaveAway(Part),
    TurnOff(Part),
    /// Let the way to a registry go without TLS.
    TrustLine,
    /// Let a registry lead to this host.
    TrustHost(String),
    /// Keep keys and values in fewer bits.
    SmallerCells,
    /// Compute fewer tokens at once.
    FewerAtOnce,
    SmallerModel,
}
