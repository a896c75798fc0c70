//! Import circles: files of one crate that cannot be understood without each other.
//!
//! A file imports another if it names it, or anything in it, by a path from `crate` or `super`. A name that a folder's
//! `mod.rs` passes on counts as one of the file that it comes from, and a `mod.rs` may name its own files: that is what it
//! is for. Test modules do not count.

use std::collections::{BTreeMap, BTreeSet};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemUse, UseTree};

/// A module's path below its crate's root: `["nat", "pools"]`.
pub type Module = Vec<String>;

/// What one file names.
#[derive(Default)]
struct Names {
    /// Paths as they stand, the first segment being `crate`, `super`, `self` or anything else.
    paths: Vec<Vec<String>>,
    /// What it passes on: the name it is known by here, and its path.
    passed_on: BTreeMap<String, Vec<String>>,
}

/// The circles among the files of a crate, each as its modules in order. The text of each file comes under its module.
///
/// # Errors
/// When a file is no Rust.
pub fn circles(files: &BTreeMap<Module, String>) -> syn::Result<Vec<Vec<Module>>> {
    let mut names = BTreeMap::new();
    for (module, text) in files {
        let mut found = Names::default();
        found.visit_file(&syn::parse_file(text)?);
        names.insert(module.clone(), found);
    }
    let imports: BTreeMap<_, BTreeSet<_>> = names
        .iter()
        .map(|(module, found)| {
            let targets = found.paths.iter().filter_map(|path| target(&names, module, path, 0));
            (module.clone(), targets.filter(|target| !target.starts_with(module)).collect())
        })
        .collect();
    Ok(components(&imports))
}

/// The file that a path leads to from a module.
fn target(
    names: &BTreeMap<Module, Names>,
    module: &Module,
    path: &[String],
    passed: usize,
) -> Option<Module> {
    let absolute = absolute(module, path)?;
    let known = (0..=absolute.len()).rev().find(|&len| names.contains_key(&absolute[..len]))?;
    let (file, rest) = absolute.split_at(known);
    let file = file.to_vec();
    // A name may be passed on more than once, but not for ever.
    match rest.first().and_then(|name| names[&file].passed_on.get(name)) {
        Some(from) if passed < 8 => {
            let from = if is_rooted(from) { from.clone() } else { below(&file, from) };
            target(names, &file, &from, passed + 1).or(Some(file))
        }
        _ => Some(file),
    }
}

/// A path of a `mod.rs` to something of its own files, from the root.
fn below(file: &Module, path: &[String]) -> Vec<String> {
    ["crate".to_owned()].iter().chain(file).chain(path).cloned().collect()
}

fn is_rooted(path: &[String]) -> bool {
    path.first().is_some_and(|first| ["crate", "super", "self"].contains(&first.as_str()))
}

/// A path without `crate`, `super` and `self`; `None` where it leads elsewhere.
fn absolute(module: &Module, path: &[String]) -> Option<Vec<String>> {
    let mut base = if path.first()? == "crate" { vec![] } else { module.clone() };
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        match first.as_str() {
            "crate" | "self" => {}
            "super" => drop(base.pop()),
            _ => break,
        }
        rest = after;
    }
    (rest.len() < path.len()).then(|| base.into_iter().chain(rest.iter().cloned()).collect())
}

/// Groups of modules that reach each other: each set of mutually reachable nodes with more than one member. The graphs are
/// small, so reachability is simply computed from every node.
fn components(imports: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<Vec<Module>> {
    let reached = |from: &Module| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&Module> = imports[from].iter().collect();
        while let Some(module) = next.pop() {
            if seen.insert(module) {
                next.extend(&imports[module]);
            }
        }
        seen
    };
    let reachable: BTreeMap<_, _> = imports.keys().map(|module| (module, reached(module))).collect();
    let mut components = BTreeSet::new();
    for (module, seen) in &reachable {
        let component: Vec<_> =
            seen.iter().filter(|other| reachable[**other].contains(module)).map(|m| (*m).clone()).collect();
        if component.len() > 1 {
            components.insert(component);
        }
    }
    components.into_iter().collect()
}

/// Whether an item is there for tests alone.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
    })
}

impl Names {
    /// Takes in a tree of imports that begins with these segments.
    fn take(&mut self, tree: &UseTree, mut path: Vec<String>, passes_on: bool) {
        let (name, known_as) = match tree {
            UseTree::Path(step) => {
                path.push(step.ident.to_string());
                return self.take(&step.tree, path, passes_on);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.take(tree, path.clone(), passes_on);
                }
                return;
            }
            UseTree::Glob(_) => return self.paths.push(path),
            UseTree::Name(name) => (&name.ident, &name.ident),
            UseTree::Rename(name) => (&name.ident, &name.rename),
        };
        if name != "self" {
            path.push(name.to_string());
        }
        if passes_on {
            self.passed_on.insert(known_as.to_string(), path.clone());
        }
        self.paths.push(path);
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let passes_on = !matches!(item.vis, syn::Visibility::Inherited);
        self.take(&item.tree, vec![], passes_on);
    }

    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {
        // `pub(super)` says who may see something, and imports nothing.
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let module =
            |name: &str| name.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let files = files.iter().map(|(name, text)| (module(name), (*text).to_owned())).collect();
        let circles = circles(&files).unwrap();
        circles
            .iter()
            .map(|circle| circle.iter().map(|m| m.join("::")).collect::<Vec<_>>().join(" "))
            .collect()
    }

    #[test]
    fn files_that_name_each_other_are_a_circle() {
        let files = [
            ("", "pub mod a; mod b; mod c;"),
            ("a", "use crate::{b::B, c};"),
            ("b", "fn f() -> crate::c::C { todo!() }"),
            ("c", "use super::a::A;"),
        ];
        assert_eq!(found(&files), ["a b c"]);
        assert_eq!(found(&files[..3]), [""; 0]);
    }

    #[test]
    fn a_folder_may_name_its_files_and_pass_on_what_they_have() {
        let folder = [
            ("", "mod nat; mod shard;"),
            ("nat", "mod pools; pub use pools::{Pools as Ports}; use crate::shard::Id;"),
            ("nat::pools", "use super::Rule;"),
            ("shard", ""),
        ];
        assert_eq!(found(&folder), [""; 0]);
        let user = [folder[0], folder[1], folder[2], ("shard", "use crate::nat::Ports;")];
        assert_eq!(found(&user), ["nat nat::pools shard"], "pools lead to nat, and that to shard");
        let pools = [user[0], user[1], ("nat::pools", ""), user[3]];
        assert_eq!(found(&pools), [""; 0], "what is passed on is its file's");
        let seen_above = [user[0], user[1], ("nat::pools", "pub(super) struct Pools;"), user[3]];
        assert_eq!(found(&seen_above), [""; 0], "who may see something is not named by it");
    }

    #[test]
    fn tests_do_not_count() {
        let files = [
            ("a", "#[cfg(test)] mod tests { use crate::b::B; } #[cfg(test)] use crate::b;"),
            ("b", "use crate::a::A;"),
        ];
        assert_eq!(found(&files), [""; 0]);
    }
}
