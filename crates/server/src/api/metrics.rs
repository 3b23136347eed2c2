//! Metrics for Prometheus: names begin with `slm_` and end with their unit, a model's label is its name.

mod answers;
mod now;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use answers::Answers;
pub use now::{ModelsNow, Now, QueueNow};
use slm_cascade::{Outcome, Step};
use slm_infer::decide::FieldAnswer;

/// All figures of one server. Its clones count together.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Figures>);

#[derive(Debug)]
struct Figures {
    registry: Registry,
    http: Http,
    waits: Histogram,
    work: Work,
    answers: Answers,
}

/// What this program is.
#[derive(Debug, Clone, Copy)]
pub struct Build<'a> {
    pub version: &'a str,
    /// What models are computed with: the processor alone, or CUDA, Metal, Vulkan.
    pub backend: &'a str,
}

impl Build<'static> {
    /// This very program.
    #[must_use]
    pub fn this() -> Build<'static> {
        let slm_engine::Build { version, ggml_backends, .. } = slm_engine::build();
        Build { version, backend: ggml_backends.split(' ').next().filter(|name| !name.is_empty()).unwrap_or("cpu") }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Endpoint {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Model {
    model: String,
}

/// A tier of a cascade that did not have the last word.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Escalation {
    model: String,
    tier: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AtTier {
    model: String,
    tier: String,
}

/// Seconds with bounds that fit what is measured.
#[derive(Debug, Clone, Copy)]
struct Seconds(&'static [f64]);

impl MetricConstructor<Histogram> for Seconds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

type Times<L> = Family<L, Histogram, Seconds>;

/// From a cached closed answer to a long text.
const REQUEST: Seconds = Seconds(&[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0]);
const WAIT: Seconds = Seconds(&[0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0]);
const TOKEN: Seconds = Seconds(&[0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.2, 0.4, 1.0]);

#[derive(Debug)]
struct Http {
    requests: Family<Endpoint, Counter>,
    durations: Times<Route>,
    in_flight: Gauge,
    connections: Gauge,
}

#[derive(Debug)]
struct Work {
    prefilled: Family<Model, Counter>,
    reused: Family<Model, Counter>,
    decoded: Family<Model, Counter>,
    scored: Family<Model, Counter>,
    escalations: Family<Escalation, Counter>,
    tier_answers: Family<AtTier, Counter>,
    exhausted: Family<Model, Counter>,
    money: Family<Model, Counter<f64, AtomicU64>>,
    /// Of all models together.
    totals: TokenTotals,
    first_tokens: Times<Model>,
    tokens: Times<Model>,
}

/// Tokens since the start, of all models together.
#[derive(Debug, Clone, Default)]
struct TokenTotals {
    prefilled: Counter,
    reused: Counter,
    decoded: Counter,
}

/// As [`TokenTotals`], at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenCounts {
    /// Of prompts, evaluated for them.
    pub prefilled: u64,
    /// Of prompts, evaluated for earlier ones.
    pub reused: u64,
    /// Generated.
    pub decoded: u64,
}

impl Metrics {
    #[must_use]
    pub fn new(build: Build<'_>) -> Metrics {
        let mut registry = Registry::with_prefix("slm");
        let labels =
            vec![("version".to_owned(), build.version.to_owned()), ("backend".to_owned(), build.backend.to_owned())];
        registry.register("build", "What this program is", Info::new(labels));
        let http = Http::new(&mut registry);
        let waits = "Time that requests waited in the queue";
        let waits = measured(&mut registry, "queue_wait", waits, Unit::Seconds, WAIT.new_metric());
        let work = Work::new(&mut registry);
        let answers = Answers::new(&mut registry);
        Metrics(Arc::new(Figures { registry, http, waits, work, answers }))
    }

    /// A request has come in; it is in flight until what is given back is dropped.
    #[must_use]
    pub fn request(&self) -> InFlight {
        InFlight::new(&self.0.http.in_flight)
    }

    /// A request has been answered, or its client is gone (status 499).
    pub fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let known = ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"];
        // Anybody can make up methods, each of which would be remembered forever.
        let method = known.into_iter().find(|known| *known == method).unwrap_or("other");
        let http = &self.0.http;
        http.requests.get_or_create(&Endpoint { method, route: route.to_owned(), status }).inc();
        http.durations.get_or_create(&Route { route: route.to_owned() }).observe(took.as_secs_f64());
    }

    /// A client has connected; it is until what is given back is dropped.
    #[must_use]
    pub fn connection(&self) -> InFlight {
        InFlight::new(&self.0.http.connections)
    }

    /// A request's turn has come.
    pub fn waited(&self, wait: Duration) {
        self.0.waits.observe(wait.as_secs_f64());
    }

    /// Tokens of a prompt that were evaluated for it, and those that had been before.
    pub fn prefilled(&self, model: &str, n_evaluated: usize, n_reused: usize) {
        self.0.work.prefilled.get_or_create(&Model::of(model)).inc_by(n_evaluated as u64);
        self.0.work.reused.get_or_create(&Model::of(model)).inc_by(n_reused as u64);
        self.0.work.totals.prefilled.inc_by(n_evaluated as u64);
        self.0.work.totals.reused.inc_by(n_reused as u64);
    }

    /// Tokens of all models together.
    #[must_use]
    pub fn tokens(&self) -> TokenCounts {
        let TokenTotals { prefilled, reused, decoded } = &self.0.work.totals;
        TokenCounts { prefilled: prefilled.get(), reused: reused.get(), decoded: decoded.get() }
    }

    /// A text's first token, this long after its request.
    pub fn first_token(&self, model: &str, after: Duration) {
        self.0.work.first_tokens.get_or_create(&Model::of(model)).observe(after.as_secs_f64());
    }

    /// Tokens that were generated, and how long that took from the first of them on.
    pub fn decoded(&self, model: &str, n_tokens: usize, took: Duration) {
        self.0.work.decoded.get_or_create(&Model::of(model)).inc_by(n_tokens as u64);
        self.0.work.totals.decoded.inc_by(n_tokens as u64);
        if n_tokens > 1 {
            let each = took.as_secs_f64() / (n_tokens - 1) as f64;
            self.0.work.tokens.get_or_create(&Model::of(model)).observe(each);
        }
    }

    /// Closed questions that were answered by scoring.
    pub fn scored(&self, model: &str, n_questions: usize) {
        self.0.work.scored.get_or_create(&Model::of(model)).inc_by(n_questions as u64);
    }

    /// A text went through the tiers of a cascade.
    pub fn went_through(&self, model: &str, steps: &[Step]) {
        let work = &self.0.work;
        for step in steps {
            let (model, tier) = (model.to_owned(), step.tier.clone());
            match step.outcome.reason() {
                None => work.tier_answers.get_or_create(&AtTier { model, tier }).inc(),
                Some(reason) => {
                    work.escalations.get_or_create(&Escalation { model, tier, reason: reason.as_str() }).inc()
                }
            };
        }
        if !steps.iter().any(|step| step.outcome == Outcome::Accepted) {
            work.exhausted.get_or_create(&Model::of(model)).inc();
        }
        let cost: f64 = steps.iter().filter_map(|step| step.cost).sum();
        self.paid(model, cost);
    }

    /// What an answer cost on another server, in the currency of its price.
    pub fn paid(&self, model: &str, cost: f64) {
        if cost > 0.0 {
            self.0.work.money.get_or_create(&Model::of(model)).inc_by(cost);
        }
    }

    /// An answer to a closed field of a model's.
    pub fn decided(&self, model: &str, field: &FieldAnswer) {
        self.0.answers.count(model, field);
    }

    /// The figures as text, and its media type: OpenMetrics for who accepts it, else Prometheus' older text.
    #[must_use]
    pub fn render(&self, now: &Now, accept: &str) -> (&'static str, String) {
        let mut open = String::new();
        // Into a string nothing can fail.
        let _ = text::encode_registry(&mut open, &self.0.registry);
        let _ = text::encode(&mut open, &now.registry());
        if accept.contains("application/openmetrics-text") {
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", open)
        } else {
            ("text/plain; version=0.0.4; charset=utf-8", older(&open))
        }
    }
}

/// Prometheus' text before OpenMetrics: a counter's type is under the name of its samples, there are no units.
fn older(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut lines = open.lines().peekable();
    while let Some(line) = lines.next() {
        let name = |rest: &str| rest.split(' ').next().unwrap_or_default().to_owned();
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let name = name(rest);
            let is_counter = lines.peek().is_some_and(|line| *line == format!("# TYPE {name} counter"));
            let is_info = lines.peek().is_some_and(|line| *line == format!("# TYPE {name} info"));
            let suffix = if is_counter {
                "_total"
            } else if is_info {
                "_info"
            } else {
                ""
            };
            let _ = writeln!(text, "# HELP {name}{suffix}{}", &rest[name.len()..]);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = name(rest);
            let _ = match &rest[name.len()..] {
                " counter" => writeln!(text, "# TYPE {name}_total counter"),
                " info" => writeln!(text, "# TYPE {name}_info gauge"),
                kind => writeln!(text, "# TYPE {name}{kind}"),
            };
        } else if !line.starts_with("# ") {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

impl Model {
    fn of(model: &str) -> Model {
        Model { model: model.to_owned() }
    }
}

fn signed(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Something that is counted for as long as it is.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl InFlight {
    fn new(gauge: &Gauge) -> InFlight {
        gauge.inc();
        InFlight(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Registers a figure and gives it back.
fn kept<M>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M
where
    M: prometheus_client::registry::Metric + Clone,
{
    registry.register(name, help, metric.clone());
    metric
}

fn measured<M>(registry: &mut Registry, name: &str, help: &str, unit: Unit, metric: M) -> M
where
    M: prometheus_client::registry::Metric + Clone,
{
    registry.register_with_unit(name, help, unit, metric.clone());
    metric
}

fn times<L: Clone + std::hash::Hash + Eq>(bounds: Seconds) -> Times<L> {
    Family::new_with_constructor(bounds)
}

impl Http {
    fn new(to: &mut Registry) -> Http {
        let durations = "Time from a request's headers to the last byte of its answer";
        Http {
            requests: kept(to, "http_requests", "Requests by endpoint and status", Family::default()),
            durations: measured(to, "http_request_duration", durations, Unit::Seconds, times(REQUEST)),
            in_flight: kept(
                to,
                "http_requests_in_flight",
                "Requests that are not yet fully answered",
                Gauge::default(),
            ),
            connections: kept(to, "http_connections", "Connections of clients", Gauge::default()),
        }
    }
}

impl Work {
    fn new(to: &mut Registry) -> Work {
        let first = "Time from a request to its first token";
        let each = "Time between tokens, averaged per text";
        let escalations = "Tiers of cascades that did not have the last word, by reason";
        Work {
            prefilled: kept(to, "tokens_prefilled", "Prompt tokens evaluated", Family::default()),
            reused: kept(to, "tokens_reused", "Prompt tokens reused from the cache", Family::default()),
            decoded: kept(to, "tokens_decoded", "Tokens that were generated", Family::default()),
            scored: kept(to, "questions_scored", "Closed questions that were answered by scoring", Family::default()),
            escalations: kept(to, "escalations", escalations, Family::default()),
            tier_answers: kept(to, "tier_answers", "Answers of cascades by the tier that gave them", Family::default()),
            exhausted: kept(to, "cascade_exhausted", "Texts of which no tier's answer was taken", Family::default()),
            money: kept(
                to,
                "remote_cost",
                "Money spent on other servers, in the currency of their prices",
                Family::default(),
            ),
            totals: TokenTotals::default(),
            first_tokens: measured(to, "time_to_first_token", first, Unit::Seconds, times(REQUEST)),
            tokens: measured(to, "time_per_token", each, Unit::Seconds, times(TOKEN)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Build, Metrics, ModelsNow, Now, QueueNow, TokenCounts};
    use std::time::Duration;

    fn filled() -> Metrics {
        let metrics = Metrics::new(Build { version: "1.2.3", backend: "cpu" });
        let _in_flight = metrics.request();
        drop(metrics.request());
        metrics.answered("POST", "/api/chat", 200, Duration::from_millis(30));
        metrics.answered("BREW", "other", 404, Duration::from_millis(1));
        metrics.waited(Duration::from_millis(2));
        metrics.prefilled("m:latest", 70, 300);
        metrics.decoded("m:latest", 11, Duration::from_millis(100));
        metrics.decoded("m:latest", 1, Duration::ZERO);
        metrics
    }

    fn now() -> Now {
        let queue = QueueNow { depth: 3, limit: 512, refused: 1, ..QueueNow::default() };
        let models =
            ModelsNow { loaded: 1, evicted: 2, load_time: Duration::from_millis(1500), ..ModelsNow::default() };
        Now { queue, models, memory: vec![("a \"quoted\"\nname".to_owned(), 5)], decisions: None }
    }

    #[test]
    fn what_was_counted_is_told() {
        let (media_type, text) = filled().render(&now(), "application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
        assert_eq!(media_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        for line in [
            "slm_build_info{version=\"1.2.3\",backend=\"cpu\"} 1",
            "slm_http_requests_total{method=\"POST\",route=\"/api/chat\",status=\"200\"} 1",
            "slm_http_requests_total{method=\"other\",route=\"other\",status=\"404\"} 1",
            "slm_http_requests_in_flight 0",
            "slm_queue_depth 3",
            "slm_queue_limit 512",
            "slm_queue_refused_total 1",
            "slm_tokens_prefilled_total{model=\"m:latest\"} 70",
            "slm_tokens_reused_total{model=\"m:latest\"} 300",
            "slm_tokens_decoded_total{model=\"m:latest\"} 12",
            "slm_time_per_token_seconds_bucket{le=\"0.01\",model=\"m:latest\"} 1",
            "slm_models_loaded 1",
            "slm_model_memory_bytes{model=\"a \\\"quoted\\\"\\nname\"} 5",
            "slm_model_unloads_total{reason=\"evicted\"} 2",
            "slm_model_load_duration_seconds_total 1.5",
            "# EOF",
        ] {
            assert!(text.lines().any(|own| own == line), "{line} is not in:\n{text}");
        }
    }

    #[test]
    fn tokens_of_all_models_are_counted_together() {
        let metrics = filled();
        metrics.prefilled("other:latest", 1, 2);
        assert_eq!(metrics.tokens(), TokenCounts { prefilled: 71, reused: 302, decoded: 12 });
    }

    #[test]
    fn who_knows_the_older_text_alone_gets_it() {
        let (media_type, text) = filled().render(&now(), "*/*");
        assert_eq!(media_type, "text/plain; version=0.0.4; charset=utf-8");
        for line in [
            "# HELP slm_http_requests_total Requests by endpoint and status.",
            "# TYPE slm_http_requests_total counter",
            "# TYPE slm_build_info gauge",
            "# TYPE slm_queue_wait_seconds histogram",
            "# TYPE slm_queue_depth gauge",
        ] {
            assert!(text.lines().any(|own| own == line), "{line} is not in:\n{text}");
        }
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"));
    }
}
