//! How a model is loaded and computed: the options, what they refuse, and memory that runs out.

use std::process::Command;

use serde_json::json;

use crate::serve::Server;
use crate::slm::Home;
use crate::tiny::Kind;

/// A home with a model of a few kilobytes under the name `tiny`.
fn home(context: u32) -> Home {
    let home = Home::new();
    let gguf = Kind::Attention.write_claiming(home.path(), context);
    home.file("Modelfile", format!("FROM {}\nPARAMETER num_predict 4\nPARAMETER num_batch 64\n", gguf.display()));
    home.slm(["create", "tiny"]).ends(0);
    home
}

/// The line of `--verbose` that begins with a name, without the name.
fn line<'a>(stderr: &'a str, name: &str) -> &'a str {
    let found = stderr.lines().find_map(|line| line.strip_prefix(name));
    found.unwrap_or_else(|| panic!("no `{name}` in {stderr}")).trim()
}

#[test]
fn verbose_shows_what_computes_and_how() {
    let home = home(2048);
    let said = home.slm(["run", "tiny", "--verbose", "x"]).ends(0).stderr;
    assert!(line(&said, "runs on").ends_with(", 1 thread"), "{said}");
    assert_eq!(line(&said, "weights"), "mapped");
    // 2 layers of one head of 32 numbers, keys and values, of 2 bytes.
    assert_eq!(line(&said, "keys, values"), "f16, 524 KB in a full context; flash attention auto");
    assert_eq!(line(&said, "batches"), "64 tokens, 64 at once");
    let flags =
        ["--no-mmap", "--kv-type=q8_0", "--flash-attn=on", "--num-batch=128", "--num-ubatch=32", "--num-thread=2"];
    let said = home.slm(["run", "tiny", "--verbose", "--device=none", "x"].iter().chain(&flags)).ends(0).stderr;
    assert!(line(&said, "runs on").ends_with(", 2 threads"), "{said}");
    assert_eq!(line(&said, "weights"), "read into memory");
    assert_eq!(line(&said, "keys, values"), "q8_0, 279 KB in a full context; flash attention on");
    assert_eq!(line(&said, "batches"), "128 tokens, 32 at once");
}

#[test]
fn the_environment_is_ollamas_and_ours_wins() {
    let home = home(2048);
    let keys = |call: crate::slm::Call| line(&call.ends(0).stderr, "keys, values").to_owned();
    let run = || home.slm(["run", "tiny", "--verbose", "x"]);
    let ollama = || run().env("OLLAMA_KV_CACHE_TYPE", "q8_0").env("OLLAMA_FLASH_ATTENTION", "1");
    assert_eq!(keys(ollama()), "q8_0, 279 KB in a full context; flash attention on");
    assert_eq!(keys(ollama().env("SLM_KV_CACHE_TYPE", "f16")), "f16, 524 KB in a full context; flash attention on");
    run()
        .env("SLM_KV_CACHE_TYPE", "int8")
        .fails(2, "slm: SLM_KV_CACHE_TYPE: there is no KV cache type `int8`; the types are `f32`, `f16`, `bf16`, `q8_0`, `q5_1`, `q5_0`, `q4_1`, `q4_0`, `iq4_nl`\n");
}

#[test]
fn contradictory_options_are_refused() {
    let home = Home::new();
    let run = |flags: &[&str]| home.slm(["run", "triage", "x"].iter().chain(flags)).ends(2).stderr;
    assert_eq!(
        run(&["--kv-type=q4_0", "--flash-attn=off"]),
        "slm: a KV cache of type `q4_0` needs flash attention, which is off; turn it on, or use `f16`\n"
    );
    assert_eq!(
        run(&["--num-batch=64", "--num-ubatch=128"]),
        "slm: 128 tokens at once are more than a batch of 64; raise --num-batch or lower --num-ubatch\n"
    );
    assert_eq!(
        run(&["--flash-attn=maybe"]),
        "slm: --flash-attn: flash attention is `on`, `off` or `auto`, not `maybe`\n"
    );
    assert_eq!(run(&["--num-ubatch=0"]), "slm: --num-ubatch cannot be `0`: it must be 1 or more\n");
    let device = run(&["--device=Quantum0"]);
    assert!(device.starts_with("slm: there is no device `Quantum0`; the devices are `"), "{device}");
    assert!(device.contains("`CPU` (") && device.ends_with(", and `none` for the CPU only\n"), "{device}");
}

/// What is generated is the caller's to choose; what is scored stays comparable.
#[test]
fn the_score_lane_keeps_its_keys_and_batches() {
    let home = Home::new();
    let answer = |flags: &[&str]| {
        let args = ["run", "triage", "--json", "I was charged twice"];
        let mut answer = home.slm(args.iter().chain(flags)).json();
        answer["timings"].take();
        answer
    };
    let plain = answer(&[]);
    assert_eq!(answer(&["--kv-type=q8_0", "--num-batch=32", "--no-mmap"]), plain);
    let off = answer(&["--flash-attn=off"]);
    assert_ne!(off["evaluation_id"], plain["evaluation_id"]);
}

/// Whoever computes: each has its own bits, under its own evaluation id, and the answer is the same.
#[test]
fn kernels_are_switched_off_wherever_a_model_is_loaded() {
    let home = Home::new();
    let answer = |kernels: &str| {
        let args = ["run", "triage", "--json", "--local", "I was charged twice"];
        home.slm(args).env("SLM_KERNELS", kernels).json()
    };
    let (on, off) = (answer("on"), answer("off"));
    assert_eq!(on["value"], off["value"]);
    let plain = home.slm(["run", "triage", "--json", "I was charged twice"]).json();
    assert_eq!((&plain["evaluation_id"], &plain["fields"]), (&on["evaluation_id"], &on["fields"]));
    if on["evaluation_id"] == off["evaluation_id"] {
        return slm_testing::skipped!("slm's kernels are not for this processor");
    }
    // In the server's own processes too.
    let server = Server::with(&home, &[("SLM_KERNELS", "off")]);
    let body = json!({"model": "triage", "prompt": "I was charged twice", "stream": false});
    assert_eq!(server.post("/api/generate", body).ok()["slm"]["evaluation_id"], off["evaluation_id"]);
    let said = home.slm(["run", "triage", "x"]).env("SLM_KERNELS", "fast").ends(2).stderr;
    assert_eq!(said, "slm: SLM_KERNELS: kernels are `on` or `off`, not `fast`\n");
}

#[test]
fn a_context_beyond_the_memory_is_refused_with_the_numbers() {
    let home = home(i32::MAX as u32);
    let n_ctx = i32::MAX.to_string();
    let said = home.slm(["run", "tiny", "--num-ctx", &n_ctx, "x"]).ends(1).stderr;
    let start =
        format!("slm: out of memory: 0.4 MB of weights and 549.8 GB of KV cache ({n_ctx} tokens in f16) are needed, ");
    assert!(said.starts_with(&start), "{said}");
    assert!(said.ends_with("; lower --num-ctx, or use --kv-type q8_0, or use a smaller quantization\n"), "{said}");
}

/// An address space that has room for the program and the weights, but not for the context.
#[test]
fn a_limit_of_the_address_space_is_the_same_sentence() {
    let home = home(i32::MAX as u32);
    let run = |n_ctx: &str| {
        let script = format!("ulimit -v 1500000 && exec {} run tiny --num-ctx {n_ctx} x", env!("CARGO_BIN_EXE_slm"));
        let mut command = Command::new("bash");
        command.args(["-c", &script]).env_clear().env("HOME", home.path()).env("PATH", "/usr/bin:/bin");
        command.output().unwrap()
    };
    let fits = run("512");
    assert!(fits.status.success(), "{}", String::from_utf8_lossy(&fits.stderr));
    let refused = run("20000000");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("5.1 GB of KV cache (20000000 tokens in f16) and "), "{said}");
    assert!(said.contains(" are left of the address space (`ulimit -v`); lower --num-ctx"), "{said}");
}
