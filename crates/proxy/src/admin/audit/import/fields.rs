//! Fields of an object, by names that programs spell in several ways.

use serde_json::Value;

/// An object, and those in it that describe the two sides.
pub(super) struct Fields<'a> {
    whole: &'a Value,
    request: &'a Value,
    response: &'a Value,
}

impl<'a> Fields<'a> {
    pub(super) fn of(whole: &'a Value) -> Self {
        // `{"request": {"method": …, "body": …}}`; else `request` is the body itself.
        let side = |names| find(whole, names).filter(|side| find(side, &["body"]).is_some());
        let request = side(&["request", "req"]).unwrap_or(&Value::Null);
        let response = side(&["response", "resp", "res"]).unwrap_or(&Value::Null);
        Self { whole, request, response }
    }

    /// The first of these that says something.
    pub(super) fn any(&self, names: &[&str]) -> &'a Value {
        find(self.whole, names).unwrap_or(&Value::Null)
    }

    /// The same, also where it is said of the request.
    pub(super) fn of_request(&self, names: &[&str]) -> &'a Value {
        find(self.request, names).unwrap_or_else(|| self.any(names))
    }

    /// The same of the response.
    pub(super) fn of_response(&self, names: &[&str]) -> &'a Value {
        find(self.response, names).unwrap_or_else(|| self.any(names))
    }

    /// A body: in the description of its side, else by one of these names.
    pub(super) fn request_body(&self, names: &[&str]) -> &'a Value {
        find(self.request, &["body"]).unwrap_or_else(|| self.any(names))
    }

    /// The same of the response.
    pub(super) fn response_body(&self, names: &[&str]) -> &'a Value {
        find(self.response, &["body"]).unwrap_or_else(|| self.any(names))
    }
}

/// The first of these names that is there; case and what joins words do not matter.
fn find<'a>(object: &'a Value, names: &[&str]) -> Option<&'a Value> {
    let members = object.as_object()?;
    names.iter().find_map(|wanted| {
        let found = members.iter().find(|(name, value)| same(name, wanted) && !value.is_null());
        found.map(|(_, value)| value)
    })
}

/// `requestBody`, `RequestBody`, `request-body` and `request_body` are one name.
fn same(one: &str, other: &str) -> bool {
    let plain = |text: &str| {
        let letters = text.chars().filter(char::is_ascii_alphanumeric);
        letters.map(|letter| letter.to_ascii_lowercase()).collect::<String>()
    };
    plain(one) == plain(other)
}
