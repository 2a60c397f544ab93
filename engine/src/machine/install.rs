//! Installs a vat's code.

use super::run::Ended;
use super::{ArgValue, CommandResult, CrankKind, Guest, Install, Machine, refused};
use crate::abi::{CapData, Delivery, Slot, Value};
use crate::comms::{Bearer, MAX_BEARERS};
use crate::error::EngineError;
use crate::wire::MAX_SLOTS;
use std::collections::BTreeSet;

impl<G: Guest> Machine<G> {
    /// A start that fails leaves the tables as they were; the guest has rolled itself back.
    pub(super) fn install(&mut self, install: Install) -> Result<CommandResult, EngineError> {
        if self.status.installed {
            return Ok(refused("the vat has its code already"));
        }
        // Before the install there are only grants in the tables: a copy is cheap, and no message can have come.
        let before = self.comms.clone();
        let Install { bundle, argv, endowments, grants, bearers } = install;
        if let Some(name) = endowments.iter().find(|name| argv.iter().any(|(field, _)| field == *name)) {
            return Ok(refused(&format!(
                "{name:?} is both an argument and an endowment: give one of them another name"
            )));
        }
        let argv = match self.prepare(argv, grants, bearers) {
            Ok(argv) => argv,
            Err(message) => {
                self.comms = before;
                return Ok(CommandResult::Refused { message });
            }
        };
        let ended = self.crank(CrankKind::Start, None, &Delivery::Start { bundle, argv, endowments })?;
        let message = match ended {
            Ended::Done => {
                self.status.installed = true;
                return Ok(CommandResult::Installed);
            }
            Ended::StartFailed(message) => message,
            Ended::RolledBack(limit) => format!("the start exceeded the {} limit", limit.as_str()),
        };
        self.comms = before;
        Ok(CommandResult::InstallFailed { message })
    }

    /// Enters grants, keys and references, and makes the record for the bundle's default export.
    pub(super) fn prepare(
        &mut self,
        argv: Vec<(String, ArgValue)>,
        grants: Vec<quorate_ids::VatId>,
        bearers: Vec<[u8; 32]>,
    ) -> Result<CapData<Slot>, String> {
        for vat in &grants {
            self.comms.grant(vat, None)?;
        }
        if bearers.len() > MAX_BEARERS {
            return Err(format!("{} bearer keys; at most {MAX_BEARERS} are allowed", bearers.len()));
        }
        for key in bearers {
            self.comms.add_bearer(key, Bearer::to_root())?;
        }
        let mut names = BTreeSet::new();
        let mut fields = Vec::with_capacity(argv.len());
        let mut slots: Vec<Slot> = Vec::new();
        for (name, value) in argv {
            if !names.insert(name.clone()) {
                return Err(format!("argument {name:?} is given twice"));
            }
            let value = match value {
                ArgValue::Data(value) if value.slot_bound() > 0 => {
                    return Err(format!("argument {name:?} is data, but names a capability"));
                }
                ArgValue::Data(value) => value,
                ArgValue::Reference { vat, object, redeem } => {
                    if let Some((_, signature)) = &redeem
                        && signature.len() != 64
                    {
                        return Err(format!("argument {name:?} has a signature of {} bytes", signature.len()));
                    }
                    let slot = match redeem {
                        // Only the root has one number for all peers; another object's name for this vat comes with the answer.
                        _ if object == 0 => {
                            let root = self.comms.reference(&vat, 0)?;
                            if let Some((bearer, signature)) = redeem {
                                self.comms.redeem(&vat, bearer, signature);
                            }
                            root
                        }
                        Some((bearer, signature)) => self.comms.redeem_object(&vat, object, bearer, signature)?,
                        None => {
                            return Err(format!(
                                "argument {name:?} names object {object} of a vat without a secret: only its root can be \
                                 named so; give the whole reference (vat://…/{object}#…)"
                            ));
                        }
                    };
                    slots.push(slot);
                    Value::Slot(u32::try_from(slots.len() - 1).map_err(|_| "too many references")?)
                }
            };
            fields.push((name, value));
        }
        if slots.len() > MAX_SLOTS {
            return Err(format!("{} references; at most {MAX_SLOTS} are allowed", slots.len()));
        }
        let argv = CapData::new(&Value::Record(fields), slots);
        match argv.value() {
            Ok(_) => Ok(argv),
            Err(error) => Err(format!("the arguments are not data that a vat can take: {error:?}")),
        }
    }
}
