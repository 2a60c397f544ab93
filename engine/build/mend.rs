//! Mends of the interpreter, made in a copy of its sources.
//!
//! Boa 0.22 remembers for each place in the code where a property was found (an inline cache), and believes it for too long: a
//! frozen object can be written to, `list.length = 0` leaves the items there, and a property of a prototype that has changed
//! is read from where it was. What a nested pattern takes out of a record stays in its rest. And where there is no room for
//! bytes it throws. Nothing but its sources can mend that. So all crates of the guest are put into a folder of their own (`cargo
//! vendor`), the few lines are exchanged, and the guest is built from there. The lock file holds as it is; of the one crate that is
//! mended, cargo no longer compares the single files.
//!
//! A text that is to be exchanged must be there as often as is said: another version of the crate fails to build until this is
//! looked at.

use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The crate that is mended; its version is that of `guest/Cargo.toml`.
const CRATE: &str = "boa_engine-0.22.0";

struct Mend {
    file: &'static str,
    old: &'static str,
    new: &'static str,
    /// Which of the places where the old text is, of how many.
    place: (usize, usize),
}

const MENDS: [Mend; 9] = [
    // What is remembered is looked up again, but where nothing can have changed: own properties of shapes that never change.
    Mend {
        place: (1, 1),
        file: "src/vm/inline_cache/mod.rs",
        old: "\
impl InlineCache {
",
        new: "\
impl InlineCache {
    fn holds(&self, shape: &Shape, slot: Slot) -> bool {
        use crate::object::shape::slot::SlotAttributes;
        let key = crate::property::PropertyKey::from(self.name.clone());
        let same = |found: Option<Slot>| {
            found.is_some_and(|found| {
                let attributes = slot.attributes.difference(SlotAttributes::INLINE_CACHE_BITS);
                found.index == slot.index && found.attributes == attributes
            })
        };
        let own = shape.lookup(&key);
        if !slot.attributes.contains(SlotAttributes::PROTOTYPE) {
            return same(own);
        }
        own.is_none() && shape.prototype().is_some_and(|prototype| same(prototype.borrow().shape().lookup(&key)))
    }

    fn never_changes(shape: &Shape, slot: Slot) -> bool {
        shape.is_shared() && !slot.attributes.contains(crate::object::shape::slot::SlotAttributes::PROTOTYPE)
    }

",
    },
    Mend {
        place: (1, 1),
        file: "src/vm/inline_cache/mod.rs",
        old: "\
                if upgraded.to_addr_usize() == shape_addr {
",
        new: "\
                if upgraded.to_addr_usize() == shape_addr {
                    let slot = entries[i].slot;
                    if !Self::never_changes(&upgraded, slot) && !self.holds(&upgraded, slot) {
                        entries.swap_remove(i);
                        break;
                    }
",
    },
    // A getter or setter that has run in between may have changed the object.
    Mend {
        place: (1, 1),
        file: "src/vm/inline_cache/mod.rs",
        old: "\
    pub(crate) fn set(&self, shape: &Shape, slot: Slot) {
        if self.megamorphic.get() {
",
        new: "\
    pub(crate) fn set(&self, shape: &Shape, slot: Slot) {
        if self.megamorphic.get() || !self.holds(shape, slot) {
",
    },
    // `super.x = …` writes to another object than the one in which the property was found.
    Mend {
        place: (1, 1),
        file: "src/vm/opcode/set/property.rs",
        old: "\
    if let Some((shape, slot)) = ic.get(object_borrowed.shape()) {
",
        new: "\
    if let Some((shape, slot)) = ic.get(object_borrowed.shape()).filter(|(_, slot)| {
        slot.attributes.is_accessor_descriptor()
            || receiver.as_object().is_some_and(|receiver| crate::JsObject::equals(&receiver, &object))
    }) {
",
    },
    // The length of an array is no plain property: whoever sets it removes items.
    Mend {
        place: (1, 1),
        file: "src/vm/opcode/set/property.rs",
        old: "\
    if succeeded && slot.is_cacheable() {
        let ic = &context.vm.frame().code_block.ic[usize::from(index)];
",
        new: "\
    if succeeded && slot.is_cacheable() && name != PropertyKey::from(crate::js_string!(\"length\")) {
        let ic = &context.vm.frame().code_block.ic[usize::from(index)];
",
    },
    // What a nested pattern has taken out does not belong to the rest: `const { secret: { x }, ...rest } = record`.
    Mend {
        place: (2, 2),
        file: "src/bytecompiler/declaration/declaration_pattern.rs",
        old: "emit_get_property_by_name(&dst, None, object, ident.sym());\n",
        new: "\
emit_get_property_by_name(&dst, None, object, ident.sym());
                                    let key = self.register_allocator.alloc();
                                    let name = self.interner().resolve_expect(ident.sym()).into_common(false);
                                    self.emit_store_literal(Literal::String(name), &key);
                                    excluded_keys_registers.push(key);
",
    },
    Mend {
        place: (2, 2),
        file: "src/bytecompiler/declaration/declaration_pattern.rs",
        old: "self.bytecode.emit_get_property_by_value(\n",
        new: "self.bytecode.emit_get_property_by_value_push(\n",
    },
    Mend {
        place: (2, 2),
        file: "src/bytecompiler/declaration/declaration_pattern.rs",
        old: " self.register_allocator.dealloc(key);\n",
        new: " excluded_keys_registers.push(key);\n",
    },
    // Bytes for which there is no room are a limit like any other, that no contract catches: garbage may fill the memory, and the
    // delivery is tried once more without it.
    Mend {
        place: (1, 1),
        file: "src/builtins/array_buffer/mod.rs",
        old: "AllocError { layout } => {\n",
        new: "AllocError { layout } => {\n                std::alloc::handle_alloc_error(layout);\n",
    },
];

/// A folder with the sources of all crates of the guest, the interpreter mended; `cargo` is a command that begins as the guest's
/// build does.
pub fn sources(guest: &Path, target_dir: &Path, mut cargo: Command) -> Result<PathBuf, String> {
    let lock = guest.join("Cargo.lock");
    let mut key = Sha256::new();
    key.update(fs::read(&lock).map_err(|error| at(&lock, &error))?);
    for Mend { file, old, new, place: (place, _) } in &MENDS {
        key.update(format!("{place}\n"));
        [file, old, new].iter().for_each(|part| key.update(format!("{}\n{part}", part.len())));
    }
    // Cargo takes the sources in one folder for the same for ever.
    let folder = target_dir.join(format!("sources-{:.16}", hex::encode(key.finalize())));
    if folder.exists() {
        return Ok(folder);
    }
    let partial = folder.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(|error| at(&partial, &error))?;
    }
    cargo.args(["vendor", "--locked", "--quiet", "--versioned-dirs", "--respect-source-config", "--manifest-path"]);
    cargo.arg(guest.join("Cargo.toml")).arg(&partial);
    let done = cargo.output().map_err(|error| format!("cannot run cargo to gather the guest's crates: {error}"))?;
    if !done.status.success() {
        return Err(format!("the guest's crates cannot be gathered\n{}", String::from_utf8_lossy(&done.stderr)));
    }
    mend(&partial.join(CRATE))?;
    fs::rename(&partial, &folder).map_err(|error| at(&folder, &error))?;
    Ok(folder)
}

fn mend(package: &Path) -> Result<(), String> {
    for Mend { file, old, new, place: (place, places) } in &MENDS {
        let path = package.join(file);
        let text = fs::read_to_string(&path).map_err(|error| at(&path, &error))?;
        let found: Vec<usize> = text.match_indices(old).map(|(at, _)| at).collect();
        if found.len() != *places {
            return Err(format!(
                "{CRATE}/{file} is not what engine/build/mend.rs mends: look whether the mend is still needed, and adapt it"
            ));
        }
        let (before, after) = text.split_at(found[place - 1]);
        let text = format!("{before}{new}{}", &after[old.len()..]);
        fs::write(&path, text).map_err(|error| at(&path, &error))?;
    }
    let path = package.join(".cargo-checksum.json");
    let text = fs::read_to_string(&path).map_err(|error| at(&path, &error))?;
    let (_, whole) = text.rsplit_once("\"package\":").ok_or_else(|| format!("{} names no hash", path.display()))?;
    fs::write(&path, format!("{{\"files\":{{}},\"package\":{whole}")).map_err(|error| at(&path, &error))
}

fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
