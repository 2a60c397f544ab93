//! Where in the bundle an error was thrown: for lines that go to the host, never for programs.

use boa_engine::{JsError, JsValue};
use std::cell::RefCell;
use std::collections::BTreeSet;

thread_local! {
    /// The paths of the bundle's modules: frames in files of the image and in evaluated texts are passed over.
    static PATHS: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// Notes which modules the bundle has.
pub fn note_modules(paths: impl Iterator<Item = String>) {
    PATHS.with(|known| *known.borrow_mut() = paths.collect());
}

/// The innermost place in the bundle: `src/main.js:3:5`. One in a package only if the author's own files have none.
pub fn of(error: &JsError) -> Option<String> {
    PATHS.with(|known| {
        let known = known.borrow();
        let places: Vec<_> = error.places().filter(|(path, ..)| known.contains(path)).collect();
        let own = places.iter().find(|(path, ..)| !format!("/{path}").contains("/node_modules/"));
        own.or(places.first()).map(|(path, line, column)| format!("{path}:{line}:{column}"))
    })
}

/// The same of a thrown value, if it is an error that the interpreter saw.
pub fn of_reason(reason: &JsValue) -> Option<String> {
    of(&JsError::from_opaque(reason.clone()))
}

/// What follows the text of an error on the host's console: ` (at src/main.js:3:5)`, or nothing.
pub fn suffix(place: Option<String>) -> String {
    place.map_or_else(String::new, |place| format!(" (at {place})"))
}
