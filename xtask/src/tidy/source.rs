//! A crate's source as the checks see it: its modules, what each one names, and the public types that it defines.
//! Tests are left out.

use anyhow::Context;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};

/// Names that a file takes, by the file that defines them.
pub(crate) type Imports<'a> = BTreeMap<&'a Path, BTreeMap<&'a Path, BTreeSet<String>>>;

/// The modules of one crate by their path from its root, as in `["journal", "writer"]`.
pub(crate) struct CrateSource {
    pub(crate) modules: BTreeMap<Vec<String>, Module>,
}

/// A module, in a file of its own or inline.
pub(crate) struct Module {
    /// Relative to the workspace.
    pub(crate) file: PathBuf,
    /// Names of the items that are defined here.
    items: BTreeSet<String>,
    /// `pub use`: the name here, and what it stands for.
    exports: Vec<(String, Vec<String>)>,
    /// Paths that the code names, as written.
    paths: BTreeSet<Vec<String>>,
    /// Names of the public types that are defined here.
    pub(crate) public_types: Vec<String>,
    /// Text literals, those of attributes included.
    pub(crate) texts: Vec<String>,
}

impl CrateSource {
    /// Reads the crate whose root file is `root_file`, a path relative to `workspace`.
    pub(crate) fn read(workspace: &Path, root_file: &Path) -> anyhow::Result<Self> {
        let mut source = CrateSource { modules: BTreeMap::new() };
        source.add_file(workspace, root_file, Vec::new())?;
        Ok(source)
    }

    fn add_file(&mut self, workspace: &Path, file: &Path, path: Vec<String>) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(workspace.join(file)).with_context(|| file.display().to_string())?;
        let syntax = syn::parse_file(&text).with_context(|| file.display().to_string())?;
        let is_root = path.is_empty();
        let folder = match file.file_stem().and_then(|stem| stem.to_str()) {
            Some(stem) if !is_root && stem != "mod" => file.with_extension(""),
            _ => file.parent().map(Path::to_owned).unwrap_or_default(),
        };
        self.add_module(workspace, file, &folder, path, &syntax.items)
    }

    fn add_module(
        &mut self,
        workspace: &Path,
        file: &Path,
        folder: &Path,
        path: Vec<String>,
        items: &[syn::Item],
    ) -> anyhow::Result<()> {
        let mut module = Module {
            file: file.to_owned(),
            items: BTreeSet::new(),
            exports: Vec::new(),
            paths: BTreeSet::new(),
            public_types: Vec::new(),
            texts: Vec::new(),
        };
        for item in items.iter().filter(|item| !is_test(item)) {
            if let syn::Item::Mod(child) = item {
                let name = child.ident.to_string();
                let mut child_path = path.clone();
                child_path.push(name.clone());
                match &child.content {
                    Some((_, items)) => self.add_module(workspace, file, &folder.join(&name), child_path, items)?,
                    None => {
                        let flat = folder.join(format!("{name}.rs"));
                        let deep = folder.join(&name).join("mod.rs");
                        let child_file = if workspace.join(&flat).exists() { flat } else { deep };
                        self.add_file(workspace, &child_file, child_path)?;
                    }
                }
                continue;
            }
            module.add_item(item);
        }
        self.modules.insert(path, module);
        Ok(())
    }

    /// What each file takes from each other file.
    pub(crate) fn imports(&self) -> Imports<'_> {
        let mut imports = Imports::new();
        for (place, module) in &self.modules {
            let named = imports.entry(&module.file).or_default();
            for path in &module.paths {
                if let Some(found) = self.resolve(place, path, 0)
                    && found.file != module.file
                {
                    named.entry(&found.file).or_default().insert(path.last().cloned().unwrap_or_default());
                }
            }
        }
        imports
    }

    /// The module that defines what `path` names when it is written in `place`.
    fn resolve(&self, place: &[String], path: &[String], depth: usize) -> Option<&Module> {
        const LONGEST_CHAIN: usize = 8;
        if depth > LONGEST_CHAIN {
            return None;
        }
        let mut here = place.to_vec();
        let mut rest = path;
        match path.first().map(String::as_str)? {
            "crate" => {
                here.clear();
                rest = &path[1..];
            }
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|first| first == "super") {
                    here.pop()?;
                    rest = &rest[1..];
                }
            }
            _ => {}
        }
        while let Some((next, after)) = rest.split_first() {
            let mut child = here.clone();
            child.push(next.clone());
            if self.modules.contains_key(&child) {
                here = child;
                rest = after;
                continue;
            }
            let module = self.modules.get(&here)?;
            if module.items.contains(next) {
                return Some(module);
            }
            let (_, target) = module.exports.iter().find(|(name, _)| name == next)?;
            return self.resolve(&here, target, depth + 1);
        }
        // A module itself is named: what is meant shows where it is used.
        None
    }
}

impl Module {
    fn add_item(&mut self, item: &syn::Item) {
        if let Some((name, visibility, is_type)) = definition(item) {
            if is_type && !matches!(visibility, syn::Visibility::Inherited) {
                self.public_types.push(name.clone());
            }
            self.items.insert(name);
        }
        if let syn::Item::Use(item) = item {
            let mut leaves = Vec::new();
            flatten(&item.tree, &mut Vec::new(), &mut leaves);
            let is_export = !matches!(item.vis, syn::Visibility::Inherited);
            for (name, path) in leaves {
                // What is only handed on is no import.
                if !is_export {
                    self.paths.insert(path.clone());
                }
                self.exports.push((name, path));
            }
            return;
        }
        Names { paths: &mut self.paths, texts: &mut self.texts }.visit_item(item);
    }
}

fn definition(item: &syn::Item) -> Option<(String, &syn::Visibility, bool)> {
    let (name, visibility, is_type) = match item {
        syn::Item::Struct(item) => (&item.ident, &item.vis, true),
        syn::Item::Enum(item) => (&item.ident, &item.vis, true),
        syn::Item::Union(item) => (&item.ident, &item.vis, true),
        syn::Item::Trait(item) => (&item.ident, &item.vis, true),
        syn::Item::Type(item) => (&item.ident, &item.vis, true),
        syn::Item::Fn(item) => (&item.sig.ident, &item.vis, false),
        syn::Item::Const(item) => (&item.ident, &item.vis, false),
        syn::Item::Static(item) => (&item.ident, &item.vis, false),
        _ => return None,
    };
    Some((name.to_string(), visibility, is_type))
}

fn flatten(tree: &syn::UseTree, before: &mut Vec<String>, leaves: &mut Vec<(String, Vec<String>)>) {
    match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, leaves);
            before.pop();
        }
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, before, leaves)),
        syn::UseTree::Name(name) if name.ident == "self" => {
            leaves.extend(before.last().map(|last| (last.clone(), before.clone())));
        }
        syn::UseTree::Name(name) => leaves.push((name.ident.to_string(), joined(before, &name.ident))),
        syn::UseTree::Rename(name) => leaves.push((name.rename.to_string(), joined(before, &name.ident))),
        syn::UseTree::Glob(_) => {}
    }
}

fn joined(before: &[String], last: &syn::Ident) -> Vec<String> {
    before.iter().cloned().chain([last.to_string()]).collect()
}

fn is_test(item: &syn::Item) -> bool {
    let attributes = match item {
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Const(item) => &item.attrs,
        _ => return false,
    };
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
    })
}

/// Collects text literals, and the paths of more than one segment; shorter ones name what was imported or is near.
struct Names<'a> {
    paths: &'a mut BTreeSet<Vec<String>>,
    texts: &'a mut Vec<String>,
}

impl Names<'_> {
    fn add_tokens(&mut self, tokens: &proc_macro2::TokenStream) {
        for token in tokens.clone() {
            match token {
                proc_macro2::TokenTree::Group(group) => self.add_tokens(&group.stream()),
                proc_macro2::TokenTree::Literal(literal) => {
                    if let syn::Lit::Str(text) = syn::Lit::new(literal) {
                        self.texts.push(text.value());
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Names<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.paths.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        self.texts.push(text.value());
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.add_tokens(&call.tokens);
        visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        // Documentation may name whatever it likes.
        if let syn::Meta::List(list) = &attribute.meta {
            self.add_tokens(&list.tokens);
        }
    }

    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test(item) {
            visit::visit_item(self, item);
        }
    }
}
