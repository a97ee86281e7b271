//! What the simulator tells about itself.

use crate::{
    json::{Json, Object},
    reply::Reply,
    route::Own,
    script::Script,
    state::State,
};

/// Answers one of the simulator's own operations.
pub(crate) fn answer(state: &State, own: Own, body: &[u8]) -> Reply {
    Reply::json(match own {
        Own::Bill => bill(state),
        Own::Requests => Json::of(state.seen()),
        Own::Reset => {
            state.reset();
            Object::new().done()
        }
        Own::Socket => return socket(state, body),
    })
}

/// Keeps words for the sockets to come, if they are understood.
fn socket(state: &State, body: &[u8]) -> Reply {
    let words = String::from_utf8_lossy(body).into_owned();
    if let Err(problem) = Script::of_words(&words) {
        return Reply::problem(&problem);
    }
    state.tell_sockets(words);
    Reply::json(Object::new().done())
}

fn bill(state: &State) -> Json {
    let bill = state.bill();
    Object::new().with("exchanges", &bill.exchanges).with("sum", bill.sum()).done()
}
