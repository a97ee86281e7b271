//! What records say about whom an exchange was for, beside what clients say themselves.

use wire::attribution::Paths;

use super::entry::{Members, Table};
use super::layer::Layers;
use super::setting::{Kind, setting};

/// Attribution, as it is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attribution {
    /// How much of a repository's path is kept.
    pub paths: Paths,
    /// Headers whose values become tags under their names, in small letters.
    pub headers: Vec<String>,
    /// Tags that some people, teams or keys get.
    pub tags: Vec<Tag>,
}

/// A tag, and whose exchanges get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    name: String,
    value: String,
    teams: Vec<String>,
    users: Vec<String>,
    keys: Vec<String>,
}

/// The list of tags.
pub static TAGS: Table = Table {
    path: "attribution.tags",
    an_entry: "a tag",
    members: &[
        setting("name", Kind::Text, "", "its name in records"),
        setting("value", Kind::Text, "", "its value"),
        setting("teams", Kind::Texts, "", "for these teams"),
        setting("users", Kind::Texts, "", "for these people"),
        setting("keys", Kind::Texts, "", "for these keys, by their ids"),
    ],
    needed: &["name", "value"],
    unique: None,
};

impl Attribution {
    pub(super) fn build(layers: &Layers) -> Self {
        let headers = layers.texts("attribution.headers");
        Self {
            paths: match layers.text("attribution.paths").as_str() {
                "full" => Paths::Full,
                _ => Paths::Name,
            },
            headers: headers.into_iter().map(|name| name.to_lowercase()).collect(),
            tags: layers.entries(&TAGS).iter().map(Tag::of).collect(),
        }
    }

    /// The tags of a key's exchanges; of several of one name the last counts.
    pub fn tags(
        &self,
        (user, team, key): (&str, Option<&str>, &str),
    ) -> impl Iterator<Item = (&str, &str)> {
        let fitting = self.tags.iter().filter(move |tag| tag.fits(user, team, key));
        fitting.map(|tag| (tag.name.as_str(), tag.value.as_str()))
    }
}

impl Tag {
    fn of(members: &Members) -> Self {
        Self {
            name: members.text("name"),
            value: members.text("value"),
            teams: members.texts("teams"),
            users: members.texts("users"),
            keys: members.texts("keys"),
        }
    }

    /// One that names nobody is for all.
    fn fits(&self, user: &str, team: Option<&str>, key: &str) -> bool {
        let is = |names: &[String], name: &str| names.iter().any(|one| one == name);
        let names_nobody = self.teams.is_empty() && self.users.is_empty() && self.keys.is_empty();
        names_nobody
            || is(&self.users, user)
            || is(&self.keys, key)
            || team.is_some_and(|team| is(&self.teams, team))
    }
}
