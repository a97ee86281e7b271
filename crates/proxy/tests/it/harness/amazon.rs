//! Amazon's services that keep keys and secrets, on loopback.

use std::process::Command;

use super::bucket::{Emulator, settings};
use super::sdk::installed;

/// An emulator of them, and what a process needs to ask it. Ends when dropped.
pub(crate) struct Amazon {
    emulator: Emulator,
    /// Variables: credentials, and where which service answers.
    pub(crate) told: Vec<(String, String)>,
}

impl Amazon {
    /// Starts one on a free port.
    pub(crate) fn start() -> Self {
        let emulator = Emulator::start();
        let mut told = settings("", emulator.address);
        told.retain(|(name, _)| name.starts_with("AWS_"));
        Self { emulator, told }
    }

    /// Where all of them answer.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.emulator.address)
    }

    /// Runs lines of Python with Amazon's own client `service` and this argument; what they print.
    pub(crate) fn boto(&self, service: &str, lines: &str, argument: &str) -> String {
        let script = format!(
            "import base64, boto3, json, sys\n\
             service = boto3.client({service:?}, endpoint_url=sys.argv[1], region_name='eu-central-1')\n\
             {lines}"
        );
        let mut python = Command::new(installed("python/bin/python"));
        python.args(["-c", &script, &self.endpoint(), argument]).envs(pairs(&self.told));
        let ran = python.output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stdout).unwrap().trim().to_owned()
    }
}

/// Variables as processes are told them.
pub(crate) fn pairs(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}
