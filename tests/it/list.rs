//! `slm list`, and where the store is.

use std::path::Path;

use crate::slm::{Home, files};

#[test]
fn an_empty_store_has_the_embedded_model_and_stays_empty() {
    let home = Home::new();
    let list = home.slm(["list"]).succeeds();
    let lines: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "ID", "SIZE", "PARAMETERS", "QUANTIZATION", "MODIFIED"]);
    assert_eq!((lines.len(), lines[1][0], &lines[1][6..]), (2, "triage:latest", &["built", "in"][..]));
    assert_eq!(home.slm(["ls"]).succeeds(), list);
    assert_eq!(files(home.path()), []);
}

#[test]
fn models_are_listed_with_what_show_says_of_them() {
    let home = Home::new();
    home.file("Modelfile", "FROM triage\nSYSTEM x");
    for name in ["b", "hf.co/user/a:q8"] {
        home.slm(["create", name]).succeeds();
    }
    let json = home.slm(["list", "--json"]).json();
    let models = json["models"].as_array().unwrap();
    let names: Vec<&str> = models.iter().map(|model| model["name"].as_str().unwrap()).collect();
    assert_eq!(
        {
            let mut sorted = names.clone();
            sorted.sort_unstable();
            sorted
        },
        ["b:latest", "hf.co/user/a:q8", "triage:latest"]
    );
    for model in models {
        let show = home.slm(["show", model["name"].as_str().unwrap(), "--json"]).json();
        for same in ["digest", "size", "modified_at", "details"] {
            assert_eq!(model[same], show[same], "{same}");
        }
        assert_eq!(model["embedded"], model["name"] == "triage:latest");
    }
}

#[test]
fn a_name_lists_the_models_that_begin_so() {
    let home = Home::new();
    home.file("Modelfile", "FROM triage");
    for name in ["sorter", "Sort:2", "other"] {
        home.slm(["create", name]).succeeds();
    }
    let names = |start: &str| {
        let list = home.slm(["list", start]).succeeds();
        let mut names: Vec<String> =
            list.lines().skip(1).map(|line| line.split_whitespace().next().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names("sort"), ["Sort:2", "sorter:latest"]);
    assert_eq!(names("TRI"), ["triage:latest"]);
    assert_eq!(names("iage"), Vec::<String>::new());
    assert_eq!(home.slm(["list", "--json", "o"]).json()["models"].as_array().unwrap().len(), 1);
}

#[test]
fn a_broken_model_is_reported_and_hides_nothing() {
    let home = Home::new();
    home.file("Modelfile", "FROM triage");
    home.slm(["create", "good"]).succeeds();
    home.slm(["create", "bad"]).succeeds();
    let manifest = home.models().join("manifests/registry.ollama.ai/library/bad/latest");
    std::fs::write(&manifest, "{").unwrap();
    let said = home.slm(["list"]).ends(0);
    assert_eq!(said.stdout.lines().count(), 3);
    let at = manifest.display();
    assert!(
        said.stderr.starts_with(&format!("slm: `{at}` is left out: the manifest `{at}` is broken: ")),
        "{}",
        said.stderr
    );
    let said = home.slm(["run", "bad", "x"]).ends(1);
    assert!(said.stderr.ends_with("; create or pull the model again\n"), "{}", said.stderr);
}

/// A blob that was damaged after it was stored never reaches native code.
#[test]
fn a_damaged_blob_is_refused_by_run() {
    let home = Home::new();
    home.file("Modelfile", "FROM triage");
    home.slm(["create", "mine"]).succeeds();
    let weights = files(&home.models()).into_iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let (path, mut bytes) = weights;
    bytes[8] ^= 0x40;
    std::fs::write(path, bytes).unwrap();
    let said = home.slm(["run", "mine", "x"]).ends(1);
    assert!(said.stderr.contains("is not a model that slm can load: "), "{}", said.stderr);
}

#[test]
fn the_store_is_where_the_environment_says() {
    let home = Home::new();
    home.file("Modelfile", "FROM triage");
    let place = |variables: &[(&str, &str)]| -> String {
        let mut call = home.slm(["create", "x"]);
        for (name, folder) in variables {
            call = call.env(name, home.path().join(folder));
        }
        call.succeeds();
        let found = files(home.path())
            .into_iter()
            .find(|(path, _)| path.ends_with("manifests/registry.ollama.ai/library/x/latest"));
        let root: &Path = found.as_ref().unwrap().0.ancestors().nth(5).unwrap();
        let root = root.strip_prefix(home.path()).unwrap().to_owned();
        std::fs::remove_dir_all(home.path().join(root.components().next().unwrap())).unwrap();
        root.display().to_string()
    };
    assert_eq!(place(&[]), ".local/share/slm/models");
    assert_eq!(place(&[("XDG_DATA_HOME", "data")]), "data/slm/models");
    assert_eq!(place(&[("XDG_DATA_HOME", "data"), ("OLLAMA_MODELS", "ollama")]), "ollama");
    assert_eq!(place(&[("OLLAMA_MODELS", "ollama"), ("SLM_MODELS", "slm")]), "slm");
}
