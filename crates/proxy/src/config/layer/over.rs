//! Layers over a preset.

use std::path::Path;

use super::{DEFAULT, Layers, PRESET};

impl Layers {
    /// Lays only a file that is named, if any, and the environment over the defaults and these.
    pub fn over(
        preset: &[(&'static str, String)],
        file: Option<&Path>,
        environment: &[(String, String)],
    ) -> Self {
        let mut layers = Self::defaults();
        layers.lay(preset, PRESET);
        if let Some(path) = file {
            layers.read_file(path);
        }
        layers.read_environment(environment);
        layers
    }

    /// Lays texts over what is there, all from one place.
    pub fn lay(&mut self, texts: &[(&'static str, String)], place: &str) {
        for (path, text) in texts {
            self.set_text(path, text, place);
        }
    }

    /// What somebody has set, with where.
    pub fn set_by_somebody(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let given = self.values.iter().map(|(path, given)| (*path, given.place.as_str()));
        given.filter(|(_, place)| ![DEFAULT, PRESET].contains(place))
    }
}
