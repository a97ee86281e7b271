//! What the simulator tells about itself.

use crate::{
    json::{Json, Object},
    reply::Reply,
    route::Own,
    state::State,
};

/// Answers one of the simulator's own operations.
pub(crate) fn answer(state: &State, own: Own) -> Reply {
    Reply::json(match own {
        Own::Bill => bill(state),
        Own::Requests => Json::of(state.seen()),
        Own::Reset => {
            state.reset();
            Object::new().done()
        }
    })
}

fn bill(state: &State) -> Json {
    let bill = state.bill();
    Object::new().with("exchanges", &bill.exchanges).with("sum", bill.sum()).done()
}
