//! What a driver asks for that starts vats or reads files.

use super::{Driver, MAX_VATS};
use crate::{
    TrialError,
    source::{Source, Sources},
    world::vat_id,
};
use quorate_config::{init::Plan, testnet::TestnetConfig};
use quorate_engine::{
    EngineError, VatId,
    abi::{Bundle, Value},
    comms::client::Completion,
    heap::Limits,
    machine::{ArgValue, Command, CommandResult, Install},
};
use quorate_protocol::sturdyref::ROOT_OBJECT;
use std::{collections::BTreeMap, fs, io::Read, path::Path};

/// Bytes of a file that a test reads as a text.
const MAX_TEXT_BYTES: u64 = 500 << 10;

/// Arguments of a vat that starts, by their names.
type Argv = Vec<(String, ArgValue)>;

impl Driver {
    /// Numbers for so many vats.
    fn numbers(&mut self, count: usize) -> Result<std::ops::RangeInclusive<u64>, Problem> {
        let first = self.started + 1;
        let last = self.started + count as u64;
        if last > MAX_VATS {
            return Err(Problem::Author(format!("{} vats are started; at most {MAX_VATS} can be", self.started)));
        }
        self.started = last;
        Ok(first..=last)
    }

    /// Starts all vats of a testnet's config, each once instead of on several hosts. Gives their names and numbers.
    pub(super) fn start_testnet(&mut self, path: &str) -> Result<Value, Problem> {
        let config =
            TestnetConfig::load(&self.folder.join(path)).map_err(|error| Problem::Author(error.to_string()))?;
        let plan = Plan::new(config).map_err(|error| Problem::Author(error.to_string()))?;
        let vats = &plan.config.vats;
        let numbers: Vec<u64> = self.numbers(vats.len())?.collect();
        let numbered = vats.iter().zip(&numbers);
        let ids: BTreeMap<&str, VatId> = numbered.map(|(vat, number)| (vat.name.as_str(), vat_id(*number))).collect();
        let mut named = Vec::new();
        for (vat, number) in vats.iter().zip(&numbers) {
            let mut install = plan.install_with(vat, &ids);
            install.grants.push(self.vat);
            let default = Limits::default();
            let limits = Limits {
                fuel_per_delivery: vat.limits.fuel_per_delivery.unwrap_or(default.fuel_per_delivery),
                memory_bytes: vat.limits.memory_bytes.unwrap_or(default.memory_bytes),
            };
            let source = Sources::default().read(&vat.source).ok();
            self.install(*number, &vat.name, install, limits, source.as_deref())?;
            named.push(Value::Array(vec![Value::String(vat.name.clone()), Value::Number(*number as f64)]));
        }
        Ok(Value::Array(named))
    }

    fn install(
        &mut self,
        number: u64,
        name: &str,
        install: Install,
        limits: Limits,
        source: Option<&Source>,
    ) -> Result<(), Problem> {
        match self.world.install(vat_id(number), name, install, limits)? {
            CommandResult::Installed => {
                self.order.push(vat_id(number));
                Ok(())
            }
            CommandResult::InstallFailed { message } => {
                let place = source.and_then(|source| source.place_in(&message));
                let place = place.map(|place| format!("\n{}", place.shown())).unwrap_or_default();
                Err(Problem::Author(format!("{name} did not start: {message}{place}")))
            }
            CommandResult::Refused { message } => Err(Problem::Author(format!("{name}: {message}"))),
            other => Err(Problem::Author(format!("{name}: {other:?}"))),
        }
    }

    /// Starts the vat that the driver wants by the request `id`. Gives the vat's number.
    pub(super) fn start_vat(&mut self, id: u64, request: &Completion) -> Result<u64, Problem> {
        let fields = Fields(&request.value);
        let path = fields.text("path").unwrap_or_default();
        let source = self.sources.read(&self.folder.join(path)).map_err(|error| Problem::Author(error.to_string()))?;
        let limits = limits(&fields)?;
        let number = *self.numbers(1)?.start();
        let vat = vat_id(number);
        let (mut argv, later) = self.argv(&fields, &vat)?;
        let mut bundle = source.bundle.clone();
        if !later.is_empty() {
            self.world.apply(&self.vat.clone(), Command::Grant { to: vat, expires_ms: None })?;
            let names = later.into_iter().map(Value::String).collect();
            argv.extend([
                (DRIVER.to_owned(), ArgValue::Reference { vat: self.vat, object: ROOT_OBJECT, redeem: None }),
                (REQUEST.to_owned(), ArgValue::Data(Value::Number(id as f64))),
                (NAMES.to_owned(), ArgValue::Data(Value::Array(names))),
            ]);
            bundle = asking(bundle);
        }
        let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or(path);
        let name = fields.text("name").unwrap_or(stem).to_owned();
        let endowments = fields.texts("endowments");
        let grants = vec![self.vat];
        let install = Install { bundle, argv, endowments, grants, bearers: Vec::new() };
        self.install(number, &name, install, limits, Some(&source))?;
        Ok(number)
    }

    /// The arguments of a vat that starts, and the names of those that hold other references than roots: the vat asks for these.
    fn argv(&mut self, request: &Fields<'_>, vat: &VatId) -> Result<(Argv, Vec<String>), Problem> {
        let (mut argv, mut later) = (Vec::new(), Vec::new());
        let Some(Value::Array(fields)) = request.get("fields") else { return Ok((argv, later)) };
        for field in fields.iter().map(Fields) {
            let name = field.text("field").unwrap_or_default().to_owned();
            match (field.number("vat"), field.get("value").unwrap_or(&Value::Undefined)) {
                (Some(number), _) => {
                    let home = vat_id(number);
                    self.world.apply(&home, Command::Grant { to: *vat, expires_ms: None })?;
                    argv.push((name, ArgValue::Reference { vat: home, object: ROOT_OBJECT, redeem: None }));
                }
                (None, value) if value.slot_bound() > 0 => later.push(name),
                (None, value) => argv.push((name, ArgValue::Data(value.clone()))),
            }
        }
        Ok((argv, later))
    }
}

/// Arguments by which a vat asks the driver for others: the driver's root, the request that it was started by, and their names.
const DRIVER: &str = "$driver";
const REQUEST: &str = "$request";
const NAMES: &str = "$names";

/// A bundle whose setup first asks the driver for arguments.
fn asking(mut bundle: Bundle) -> Bundle {
    let mut entry = "vat-asking.js".to_owned();
    while bundle.modules.contains_key(&entry) {
        entry.insert(0, '_');
    }
    let setup = serde_json::Value::from(format!("./{}", bundle.entry));
    let code = format!(
        "import * as file from {setup};\n\
         export default ({{ {DRIVER}: driver, {REQUEST}: request, {NAMES}: names, ...argv }}) =>\n\
         E(driver).argvOf(request, names).then(more => file.default(harden({{ ...argv, ...more }})));\n"
    );
    bundle.modules.insert(entry.clone(), code);
    bundle.entry = entry;
    bundle
}

/// Why a vat was not started.
pub(super) enum Problem {
    /// A mistake of the author's, who is told.
    Author(String),
    /// The run is over.
    Trial(TrialError),
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Problem {
        Problem::Trial(error.into())
    }
}

/// Reads a text file. What is longer does not go into a message.
pub(super) fn read_text(folder: &Path, path: &str) -> Result<Value, Problem> {
    let shown = |error: &dyn std::fmt::Display| Problem::Author(format!("{path}: {error}"));
    let file = fs::File::open(folder.join(path)).map_err(|error| shown(&error))?;
    let mut text = String::new();
    file.take(MAX_TEXT_BYTES + 1).read_to_string(&mut text).map_err(|error| shown(&error))?;
    if text.len() as u64 > MAX_TEXT_BYTES {
        return Err(Problem::Author(format!("{path}: over {MAX_TEXT_BYTES} bytes, more than a message carries")));
    }
    Ok(Value::String(text))
}

fn limits(fields: &Fields<'_>) -> Result<Limits, Problem> {
    let mut limits = Limits::default();
    if let Some(fuel) = fields.number("fuelPerDelivery") {
        limits.fuel_per_delivery = fuel;
    }
    if let Some(mb) = fields.number("memoryMb") {
        if !(16..=4096).contains(&mb) {
            return Err(Problem::Author(format!("memoryMb: {mb} is not between 16 and 4096")));
        }
        limits.memory_bytes = mb << 20;
    }
    Ok(limits)
}

/// A record of the driver's.
pub(super) struct Fields<'a>(pub &'a Value);

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        let Value::Record(fields) = self.0 else { return None };
        fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }

    pub fn text(&self, name: &str) -> Option<&'a str> {
        if let Some(Value::String(text)) = self.get(name) { Some(text) } else { None }
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        match self.get(name) {
            Some(Value::Number(number)) if *number >= 0.0 && number.fract() == 0.0 => Some(*number as u64),
            _ => None,
        }
    }

    fn texts(&self, name: &str) -> Vec<String> {
        let Some(Value::Array(items)) = self.get(name) else { return Vec::new() };
        let text = |item: &Value| if let Value::String(text) = item { Some(text.clone()) } else { None };
        items.iter().filter_map(text).collect()
    }
}
