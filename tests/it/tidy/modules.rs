//! The modules of slm's crates as the compiler sees them, without their tests: what each defines, uses and hands on.
//!
//! Files are parsed with syn. A use is followed through re-exports to the module that defines the item, so that
//! `use super::Thing` counts as a use of the file where `Thing` stands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, Visibility};

/// Names from a crate's root: `["slm_engine", "llama", "build"]`.
pub type ModulePath = Vec<String>;

/// One module of one of slm's crates.
#[derive(Debug, Default)]
pub struct Module {
    pub file: PathBuf,
    pub children: BTreeSet<String>,
    /// What is in the file itself.
    defined: BTreeSet<String>,
    /// Names handed on from elsewhere, as they are written.
    handed_on: BTreeMap<String, Vec<String>>,
    /// Modules from which everything is handed on.
    globs: Vec<Vec<String>>,
    /// Paths as they are written, `crate`, `super` and `self` included.
    written: BTreeSet<Vec<String>>,
    /// The names of the methods that are called.
    pub methods: BTreeSet<String>,
    /// The names of the macros that are called.
    pub macros: BTreeSet<String>,
}

/// All modules of all of slm's crates.
#[derive(Debug, Default)]
pub struct Modules {
    pub all: BTreeMap<ModulePath, Module>,
}

impl Modules {
    /// Reads the crates of the workspace at `root`.
    pub fn read(root: &Path) -> Modules {
        let mut modules = Modules::default();
        modules.read_crate("slm", &root.join("src"));
        for entry in std::fs::read_dir(root.join("crates")).unwrap() {
            let folder = entry.unwrap().path();
            let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
            let name = manifest.split('"').nth(1).expect("a package begins with its name").replace('-', "_");
            modules.read_crate(&name, &folder.join("src"));
        }
        modules
    }

    fn read_crate(&mut self, name: &str, folder: &Path) {
        self.read_module(vec![name.to_owned()], folder.join("lib.rs"), folder);
    }

    /// Reads a module's file and those of its children, which are in `folder`.
    fn read_module(&mut self, path: ModulePath, file: PathBuf, folder: &Path) {
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut reader = Reader { module: Module { file, ..Module::default() } };
        reader.visit_file(&parsed);
        let module = reader.module;
        for child in &module.children {
            let (flat, own) = (folder.join(format!("{child}.rs")), folder.join(child));
            let file = if flat.exists() { flat } else { own.join("mod.rs") };
            let path = path.iter().cloned().chain([child.clone()]).collect();
            self.read_module(path, file, &own);
        }
        self.all.insert(path, module);
    }

    /// What a module uses: modules of slm's crates, and `[name]` for other crates.
    pub fn uses(&self, from: &ModulePath) -> BTreeSet<ModulePath> {
        let written = &self.all[from].written;
        written.iter().filter_map(|names| self.resolved(from, names, 0)).filter(|used| used != from).collect()
    }

    /// What a module uses of other crates, as whole paths: `["std", "time", "Instant", "now"]`.
    pub fn foreign(&self, from: &ModulePath) -> impl Iterator<Item = Vec<String>> {
        let module = &self.all[from];
        module.written.iter().map(|names| match module.handed_on.get(&names[0]) {
            Some(whole) => whole.iter().chain(&names[1..]).cloned().collect(),
            None => names.clone(),
        })
    }

    /// The module that defines what is written in `from` as `names`.
    fn resolved(&self, from: &ModulePath, names: &[String], depth: usize) -> Option<ModulePath> {
        let (first, rest) = names.split_first()?;
        let parent = || from[..from.len() - 1].to_vec();
        match first.as_str() {
            _ if depth > 8 => None,
            "crate" => self.below(from[..1].to_vec(), rest, depth),
            "self" => self.below(from.clone(), rest, depth),
            "super" if from.len() > 1 => match rest.first().map(String::as_str) {
                Some("super") => self.resolved(&parent(), rest, depth),
                _ => self.below(parent(), rest, depth),
            },
            name if self.all[from].children.contains(name) => self.below(from.clone(), names, depth),
            name if self.all.contains_key(&vec![name.to_owned()]) => self.below(vec![name.to_owned()], rest, depth),
            name => self.handed_on(from, name, rest, depth).or_else(|| {
                let is_crate =
                    name.starts_with(|c: char| c.is_ascii_lowercase()) && !self.all[from].defined.contains(name);
                is_crate.then(|| vec![name.to_owned()])
            }),
        }
    }

    /// Goes from a module down to the one that defines the last of `names`.
    fn below(&self, at: ModulePath, names: &[String], depth: usize) -> Option<ModulePath> {
        let Some((name, rest)) = names.split_first() else { return Some(at) };
        let module = &self.all[&at];
        if module.children.contains(name) {
            return self.below(at.iter().cloned().chain([name.clone()]).collect(), rest, depth);
        }
        if module.defined.contains(name) {
            return Some(at);
        }
        self.handed_on(&at, name, rest, depth).or(Some(at))
    }

    fn handed_on(&self, at: &ModulePath, name: &str, rest: &[String], depth: usize) -> Option<ModulePath> {
        let module = &self.all[at];
        let whole = |names: &[String]| names.iter().chain(rest).cloned().collect::<Vec<_>>();
        if let Some(names) = module.handed_on.get(name) {
            let names = whole(names);
            return self.resolved(at, &names, depth + 1).or_else(|| Some(vec![names[0].clone()]));
        }
        let of_glob = |names: &Vec<String>| {
            let module = self.resolved(at, names, depth + 1)?;
            let has_it = self.all.get(&module)?.defined.contains(name);
            has_it.then_some(module)
        };
        module.globs.iter().find_map(of_glob)
    }
}

/// Collects what one file says.
struct Reader {
    module: Module,
}

impl Reader {
    fn used(&mut self, names: Vec<String>) {
        if names.len() > 1 {
            self.module.written.insert(names);
        }
    }

    fn tree(&mut self, tree: &UseTree, before: &[String], is_public: bool) {
        let with = |name: String| before.iter().cloned().chain([name]).collect::<Vec<_>>();
        match tree {
            UseTree::Path(path) => self.tree(&path.tree, &with(path.ident.to_string()), is_public),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(tree, before, is_public)),
            UseTree::Glob(_) => {
                self.module.globs.push(before.to_vec());
                self.used(before.to_vec());
            }
            UseTree::Name(_) | UseTree::Rename(_) => {
                let (name, here) = match tree {
                    UseTree::Rename(rename) => (rename.ident.to_string(), rename.rename.to_string()),
                    UseTree::Name(name) => (name.ident.to_string(), name.ident.to_string()),
                    _ => unreachable!("the arm has these two"),
                };
                let (names, here) = match (name.as_str(), before.last()) {
                    ("self", Some(last)) => (before.to_vec(), if here == "self" { last.clone() } else { here }),
                    _ => (with(name), here),
                };
                self.module.handed_on.insert(here, names.clone());
                // Who only hands something on does not use it.
                if !is_public {
                    self.module.written.insert(names);
                }
            }
        }
    }

    /// Paths in a macro's words.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut names: Vec<String> = Vec::new();
        let mut n_colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => n_colons += 1,
                TokenTree::Ident(ident) if n_colons == 2 && !names.is_empty() => {
                    names.push(ident.to_string());
                    n_colons = 0;
                }
                other => {
                    self.used(std::mem::take(&mut names));
                    n_colons = 0;
                    match other {
                        TokenTree::Ident(ident) => names.push(ident.to_string()),
                        TokenTree::Group(group) => self.tokens(group.stream()),
                        _ => {}
                    }
                }
            }
        }
        self.used(names);
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if attributes(item).iter().any(is_test) {
            return;
        }
        if let Some(name) = defined(item) {
            self.module.defined.insert(name);
        }
        syn::visit::visit_item(self, item);
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        if let syn::ImplItem::Fn(function) = item
            && function.attrs.iter().any(is_test)
        {
            return;
        }
        syn::visit::visit_impl_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        match &item.content {
            None => {
                self.module.children.insert(item.ident.to_string());
            }
            Some(_) => syn::visit::visit_item_mod(self, item),
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.tree(&item.tree, &[], !matches!(item.vis, Visibility::Inherited));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.used(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        syn::visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.module.methods.insert(call.method.to_string());
        syn::visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.module.macros.extend(called.path.segments.last().map(|segment| segment.ident.to_string()));
        self.tokens(called.tokens.clone());
        syn::visit::visit_macro(self, called);
    }
}

/// `#[cfg(test)]`, also among other conditions, and `#[test]`.
fn is_test(attribute: &Attribute) -> bool {
    let words = || attribute.meta.require_list().map(|list| list.tokens.to_string()).unwrap_or_default();
    attribute.path().is_ident("test")
        || attribute.path().is_ident("cfg") && words().split(|c: char| !c.is_alphanumeric()).any(|word| word == "test")
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn defined(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}
