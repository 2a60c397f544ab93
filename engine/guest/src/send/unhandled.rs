//! Rejections that nobody listens to.

use crate::objects::inspect;
use crate::tables::ByIdentity;
use crate::{places, runtime};
use boa_engine::builtins::promise::{OperationType, PromiseState};
use boa_engine::object::builtins::JsPromise;
use boa_engine::{Context, JsObject};
use std::cell::RefCell;

/// Promises that were rejected in this delivery and have no listener, in the order of their rejections.
#[derive(Default)]
struct Unhandled {
    /// `None` where a listener came later.
    order: Vec<Option<JsObject>>,
    places: ByIdentity<usize>,
}

thread_local! {
    static UNHANDLED: RefCell<Unhandled> = RefCell::default();
}

/// The interpreter tells of a promise that was rejected with no listener, or that got its first one after that.
pub fn track(promise: &JsObject, operation: OperationType) {
    UNHANDLED.with(|unhandled| {
        let mut unhandled = unhandled.borrow_mut();
        match operation {
            OperationType::Reject => {
                let place = unhandled.order.len();
                unhandled.order.push(Some(promise.clone()));
                unhandled.places.insert(promise.clone(), place);
            }
            OperationType::Handle => {
                if let Some(place) = unhandled.places.remove(promise) {
                    unhandled.order[place] = None;
                }
            }
        }
    });
}

/// Logs the rejections of this delivery that nobody listens to. Runs no JavaScript: nothing may be queued any more.
pub fn report(context: &Context) {
    for object in UNHANDLED.take().order.into_iter().flatten() {
        if let Ok(promise) = JsPromise::from_object(object)
            && let PromiseState::Rejected(reason) = promise.state()
        {
            let place = places::suffix(places::of_reason(&reason));
            runtime::log(runtime::WARN, &format!("unhandled rejection: {}{place}", inspect::text(&reason, context)));
        }
    }
}
