//! What slm takes from its environment: the store's folder and defaults. `SLM_X` wins over `OLLAMA_X`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::embedded::TRIAGE;
use crate::failure::Failure;
use crate::store::Store;
use crate::template::Date;
use crate::ui::look::{Colour, Look};

/// The environment as it was when slm started.
#[derive(Debug)]
pub struct Environment {
    models: Option<PathBuf>,
    context_length: Option<String>,
    num_parallel: Option<String>,
    kv_cache_type: Option<String>,
    flash_attention: Option<String>,
    kernels: Option<String>,
    sets_waiting: bool,
    debug: Option<String>,
    look: Look,
    history: Option<PathBuf>,
    kept_answers: Option<PathBuf>,
    tuning_python: Option<PathBuf>,
    is_on_github: bool,
    no_history: Option<String>,
    host: Option<String>,
    api_key: Option<String>,
    set: Vec<String>,
    serving: Serving,
    network: Network,
}

/// The environment's settings of `slm serve`, as unchecked text.
#[derive(Debug, Clone, Default)]
pub struct Serving {
    /// `SLM_ALLOWED_HOSTS`.
    pub allowed_hosts: Option<String>,
    /// `SLM_ORIGINS`.
    pub origins: Option<String>,
    /// `SLM_KEEP_ALIVE`.
    pub keep_alive: Option<String>,
    /// `SLM_MAX_LOADED_MODELS`.
    pub max_loaded: Option<String>,
    /// `SLM_MAX_QUEUE`.
    pub max_queue: Option<String>,
    /// `SLM_REQUEST_TIMEOUT`.
    pub request_timeout: Option<String>,
    /// `SLM_LOAD_TIMEOUT`.
    pub load_timeout: Option<String>,
    /// `SLM_DRAIN_SECONDS`.
    pub drain_seconds: Option<String>,
    /// `SLM_MAX_BODY`.
    pub max_body: Option<String>,
    /// `SLM_LOG_FORMAT`.
    pub log_format: Option<String>,
    /// `SLM_LOG_PROMPTS`.
    pub log_prompts: Option<String>,
}

/// Where the network's settings are, as the field's tools keep them.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// `SLM_REGISTRY`: the registry of names that give no host.
    pub registry: Option<String>,
    /// `HF_ENDPOINT`.
    pub hugging_face: Option<String>,
    /// `HF_TOKEN`, or what the token file holds.
    pub hugging_face_token: Option<String>,
    /// The variable or the file that this token is from.
    pub hugging_face_token_from: Option<String>,
    /// Docker's `config.json`.
    pub docker_config: Option<PathBuf>,
    /// Ollama's keys.
    pub ollama_keys: Vec<PathBuf>,
    /// The stores of Ollama on this machine.
    pub neighbours: Vec<PathBuf>,
    /// The hosts of proxies.
    pub proxies: Vec<String>,
    /// `SLM_STALL_SECONDS`.
    pub stall_seconds: Option<String>,
}

impl Environment {
    #[must_use]
    pub fn read() -> Self {
        let models = variable("MODELS").map(PathBuf::from);
        let folders = directories::ProjectDirs::from("", "", "slm");
        let history = folders.as_ref().map(|folders| folders.data_dir().join("history"));
        let tuning_python = folders.as_ref().map(|folders| folders.data_dir().join("tune-python"));
        let kept_answers = folders.as_ref().map(|folders| folders.cache_dir().join("eval"));
        let models = models.or_else(|| folders.map(|folders| folders.data_dir().join("models")));
        Environment {
            models,
            context_length: text("CONTEXT_LENGTH"),
            num_parallel: text("NUM_PARALLEL"),
            kv_cache_type: text("KV_CACHE_TYPE"),
            flash_attention: text("FLASH_ATTENTION"),
            kernels: text("KERNELS"),
            sets_waiting: ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"].into_iter().any(|name| own("", name).is_some()),
            debug: text("DEBUG"),
            look: look(),
            history,
            kept_answers,
            tuning_python,
            is_on_github: own("", "GITHUB_ACTIONS").is_some(),
            no_history: text("NOHISTORY"),
            host: text("HOST"),
            api_key: own("SLM_", "API_KEY").map(|key| key.to_string_lossy().into_owned()),
            set: set(),
            serving: Serving {
                allowed_hosts: text("ALLOWED_HOSTS"),
                origins: text("ORIGINS"),
                keep_alive: text("KEEP_ALIVE"),
                max_loaded: text("MAX_LOADED_MODELS"),
                max_queue: text("MAX_QUEUE"),
                request_timeout: text("REQUEST_TIMEOUT"),
                load_timeout: text("LOAD_TIMEOUT"),
                drain_seconds: text("DRAIN_SECONDS"),
                max_body: text("MAX_BODY"),
                log_format: text("LOG_FORMAT"),
                log_prompts: text("LOG_PROMPTS"),
            },
            network: Network::read(),
        }
    }

    /// The names of all variables that begin as slm's do, in order; those of Ollama's that slm reads are among them.
    #[must_use]
    pub fn set(&self) -> &[String] {
        &self.set
    }

    #[must_use]
    pub fn serving(&self) -> &Serving {
        &self.serving
    }

    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The store of this user.
    ///
    /// # Errors
    /// There is no home folder and `SLM_MODELS` is not set.
    pub fn store(&self) -> Result<Store, Failure> {
        let root = self
            .models
            .clone()
            .ok_or_else(|| Failure::failed("there is no home folder to keep models in; set SLM_MODELS to a folder"))?;
        Ok(Store::open(root).with_embedded(TRIAGE))
    }

    /// `SLM_DEBUG`.
    #[must_use]
    pub fn wants_debug(&self) -> bool {
        is_on(self.debug.as_deref())
    }

    /// What the terminal can show.
    #[must_use]
    pub fn look(&self) -> Look {
        self.look
    }

    /// The history file of sessions; `None` without a home folder, or with `SLM_NOHISTORY`.
    #[must_use]
    pub fn history(&self) -> Option<&Path> {
        self.history.as_deref().filter(|_| !is_on(self.no_history.as_deref()))
    }

    /// The folder of the Python environment that `slm tune --setup` makes.
    #[must_use]
    pub fn tuning_python(&self) -> Option<&Path> {
        self.tuning_python.as_deref()
    }

    /// The folder of answers that evaluations keep; `None` where there is no home folder.
    #[must_use]
    pub fn kept_answers(&self) -> Option<&Path> {
        self.kept_answers.as_deref()
    }

    /// The variable that a file of the user's names, such as that with a remote's key; an empty one counts as not set.
    #[must_use]
    pub fn named(name: &str) -> Option<String> {
        own("", name).and_then(|value| value.into_string().ok())
    }

    /// `GITHUB_ACTIONS`: whether a workflow of GitHub's runs this.
    #[must_use]
    pub fn is_on_github(&self) -> bool {
        self.is_on_github
    }

    /// With `SLM_DEBUG`, writes llama.cpp's log to standard error; it contains no prompts.
    pub fn log_if_wanted(&self) {
        if self.wants_debug() {
            let log = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(std::io::stderr);
            // Another log is there already only in a test that calls this twice.
            let _ = log.without_time().try_init();
        }
    }

    /// `SLM_CONTEXT_LENGTH`, as text: whoever uses it checks it as `num_ctx`.
    #[must_use]
    pub fn context_length(&self) -> Option<&str> {
        self.context_length.as_deref()
    }

    /// `SLM_NUM_PARALLEL`, as text: whoever uses it checks it as `--parallel`.
    #[must_use]
    pub fn num_parallel(&self) -> Option<&str> {
        self.num_parallel.as_deref()
    }

    /// `SLM_HOST`: where `slm serve` listens, and where its commands find it.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// `SLM_API_KEY`: the keys that a server asks for, separated by commas.
    #[must_use]
    pub fn api_key(&self) -> Option<&str> {
        self.api_key.as_deref()
    }

    /// `SLM_KV_CACHE_TYPE`, as text.
    #[must_use]
    pub fn kv_cache_type(&self) -> Option<&str> {
        self.kv_cache_type.as_deref()
    }

    /// `SLM_FLASH_ATTENTION`, as text.
    #[must_use]
    pub fn flash_attention(&self) -> Option<&str> {
        self.flash_attention.as_deref()
    }

    /// Whether the variables of OpenMP's runtime say how threads wait for each other; it reads them itself.
    #[must_use]
    pub fn sets_waiting(&self) -> bool {
        self.sets_waiting
    }

    /// `SLM_KERNELS`, as text.
    #[must_use]
    pub fn kernels(&self) -> Option<&str> {
        self.kernels.as_deref()
    }
}

impl Network {
    fn read() -> Network {
        let home = directories::BaseDirs::new().map(|folders| folders.home_dir().to_owned());
        let under_home = |path: &str| home.as_ref().map(|home| home.join(path));
        let folder = |name: &str| own("", name).map(PathBuf::from);
        let token_file = folder("HF_TOKEN_PATH")
            .or_else(|| folder("HF_HOME").map(|home| home.join("token")))
            .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("huggingface/token")))
            .or_else(|| under_home(".cache/huggingface/token"));
        let filled = |token: &str| Some(token.trim().to_owned()).filter(|token| !token.is_empty());
        let in_variable =
            own("", "HF_TOKEN").map(|token| ("HF_TOKEN".to_owned(), token.to_string_lossy().into_owned()));
        let in_file = || {
            let file = token_file?;
            Some((file.display().to_string(), std::fs::read_to_string(file).ok()?))
        };
        let token = in_variable.or_else(in_file).and_then(|(from, token)| Some((from, filled(&token)?)));
        let (token_from, token) = token.unzip();
        let docker = folder("DOCKER_CONFIG").or_else(|| under_home(".docker"));
        let of_service = PathBuf::from("/usr/share/ollama/.ollama");
        let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
        let proxies = proxies.into_iter().flat_map(|name| [own("", name), own("", &name.to_ascii_lowercase())]);
        Network {
            registry: text("REGISTRY"),
            hugging_face: own("", "HF_ENDPOINT").map(|url| url.to_string_lossy().into_owned()),
            hugging_face_token: token,
            hugging_face_token_from: token_from,
            docker_config: docker.map(|folder| folder.join("config.json")),
            ollama_keys: [under_home(".ollama/id_ed25519"), Some(of_service.join("id_ed25519"))]
                .into_iter()
                .flatten()
                .collect(),
            neighbours: [
                own("OLLAMA_", "MODELS").map(PathBuf::from),
                under_home(".ollama/models"),
                Some(of_service.join("models")),
            ]
            .into_iter()
            .flatten()
            .collect(),
            proxies: proxies.flatten().filter_map(|proxy| host_of(&proxy.to_string_lossy())).collect(),
            stall_seconds: text("STALL_SECONDS"),
        }
    }
}

/// The host of a proxy as its variable gives it, with a scheme or without.
fn host_of(proxy: &str) -> Option<String> {
    let with_scheme = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
    url::Url::parse(&with_scheme).ok()?.host_str().map(str::to_owned)
}

/// What is read as `SLM_X`, and where it is not set as `OLLAMA_X`; the key is never Ollama's.
pub const NAMES: [&str; 23] = [
    "ALLOWED_HOSTS",
    "API_KEY",
    "CONTEXT_LENGTH",
    "DEBUG",
    "DRAIN_SECONDS",
    "FLASH_ATTENTION",
    "HOST",
    "KEEP_ALIVE",
    "KERNELS",
    "KV_CACHE_TYPE",
    "LOAD_TIMEOUT",
    "LOG_FORMAT",
    "LOG_PROMPTS",
    "MAX_BODY",
    "MAX_LOADED_MODELS",
    "MAX_QUEUE",
    "MODELS",
    "NOHISTORY",
    "NUM_PARALLEL",
    "ORIGINS",
    "REGISTRY",
    "REQUEST_TIMEOUT",
    "STALL_SECONDS",
];

fn set() -> Vec<String> {
    let filled = std::env::vars_os().filter(|(_, value)| !value.is_empty());
    let is_read = |name: &String| {
        name.starts_with("SLM_") || name.strip_prefix("OLLAMA_").is_some_and(|name| NAMES.contains(&name))
    };
    let mut set: Vec<String> = filled.filter_map(|(name, _)| name.into_string().ok()).filter(is_read).collect();
    set.sort();
    set
}

/// A variable of exactly that name; an empty one counts as not set.
fn own(prefix: &str, name: &str) -> Option<OsString> {
    std::env::var_os(format!("{prefix}{name}")).filter(|value| !value.is_empty())
}

/// A variable under our name, else under Ollama's; an empty one counts as not set.
fn variable(name: &str) -> Option<OsString> {
    own("SLM_", name).or_else(|| own("OLLAMA_", name))
}

/// What the variables of the terminal and the locale say.
fn look() -> Look {
    let lossy = |name: &str| own("", name).map(|value| value.to_string_lossy().into_owned());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(lossy);
    let colour = if own("", "NO_COLOR").is_some() { Colour::Unwanted } else { Colour::Allowed };
    Look::of(lossy("TERM").as_deref(), locale.as_deref(), colour)
}

/// A variable as text; invalid UTF-8 is replaced, so that the code that reads the variable refuses it.
fn text(name: &str) -> Option<String> {
    variable(name).map(|value| value.to_string_lossy().into_owned())
}

/// Whether a variable switches something on.
#[must_use]
pub fn is_on(said: Option<&str>) -> bool {
    said.is_some_and(|said| said != "0" && said != "false")
}

/// Today in UTC, for templates that print the date.
#[must_use]
pub fn today() -> Date {
    Date::from_unix_days(day())
}

/// The number of today since 1970, in UTC.
#[must_use]
pub fn day() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs() / 86_400).unwrap_or(0)
}

/// A time as RFC 3339 in UTC, to the second.
#[must_use]
pub fn timestamp(time: std::time::SystemTime) -> String {
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    let date = Date::from_unix_days(i64::try_from(since / 86_400).unwrap_or(0)).strftime("%Y-%m-%d");
    let (hour, minute, second) = (since / 3600 % 24, since / 60 % 60, since % 60);
    format!("{date}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The time that [`timestamp`] has written.
#[must_use]
pub fn time_of(text: &str) -> Option<std::time::SystemTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, by: char| text.split(by).map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>();
    let (date, time) = (numbers(date, '-')?, numbers(time.split('.').next()?, ':')?);
    let ([year, month, day], [hour, minute, second]) = (date.try_into().ok()?, time.try_into().ok()?);
    if year > 9999 || month > 12 {
        return None;
    }
    // Years that begin in March, so that the day of a leap year is their last (Hinnant, `days_from_civil`).
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day.checked_sub(1)?;
    let days = (365 * year + year / 4 - year / 100 + year / 400 + day_of_year).checked_sub(719_468)?;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::{NAMES, time_of, timestamp};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn times_are_read_back() {
        for seconds in [0, 951_782_399, 951_868_800, 1_798_761_599, 9_223_372_036] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(time_of(&timestamp(time)), Some(time), "{}", timestamp(time));
        }
        assert_eq!(time_of("2026-12-01T07:00:00.25Z"), time_of("2026-12-01T07:00:00Z"));
        assert_eq!([time_of("soon"), time_of("2026-12-01"), time_of("0000-01-01T00:00:00Z")], [None; 3]);
    }

    #[test]
    fn every_variable_that_is_read_is_named() {
        let source = include_str!("environment.rs");
        let read = |call: &str| {
            let after = source.split(call).skip(1).filter_map(|rest| rest.split('"').next());
            after.map(str::to_owned).filter(|name| !name.is_empty()).collect::<Vec<_>>()
        };
        let own = ["text(\"", "variable(\"", "own(\"SLM_\", \""].map(read).concat();
        let mut own: Vec<&str> = own.iter().map(String::as_str).filter(|name| name.to_uppercase() == **name).collect();
        own.sort_unstable();
        own.dedup();
        assert_eq!(own, NAMES);
    }
}
