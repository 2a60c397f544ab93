//! A host's part of a vat's upgrade: completes the request, tries it on the present state, and proposes it to the owners of the members.

use super::{VatService, codes::Codes, machine::VatMachine, trials::Busy};
use quorate_consensus::{MemberSignature, ReconfigureError};
use quorate_engine::{
    EngineError,
    abi::Bundle,
    machine::{Forecast, Upgrade},
};
use quorate_protocol::{
    codec,
    command::{VatCommand, VatResult},
    status::ForecastStatus,
    upgrade::{UpgradeDraft, UpgradeMotion, UpgradeOrder},
};
use std::time::{Duration, Instant};

/// How long a trial on the present state may take.
const TRIAL_DEADLINE: Duration = Duration::from_secs(50);
/// How long a trial waits for the rest after the one before.
const REST_PATIENCE: Duration = Duration::from_secs(10);

/// What came of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpgradeOutcome {
    /// It is carried out, in this block.
    Done(u64),
    /// It was tried in the vat, and thrown away: the vat goes on as it was.
    Failed(String),
    /// It is refused.
    Refused(String),
    /// It waits for approvals, as this says.
    Waits(String),
}

/// Why it is not known what would come of an upgrade.
#[derive(Debug, thiserror::Error)]
pub enum NotForeseen {
    #[error("the replica has stopped, or is too busy")]
    NoLook,
    #[error(
        "another upgrade is being tried on the vat's state, for `vat upgrade`: repeat the command when that has ended"
    )]
    Taken,
    #[error("an upgrade was tried on the vat's state just now, and the vat comes first: repeat the command in {} s", .0.as_secs() + 1)]
    Rests(Duration),
    #[error("{0}")]
    Engine(#[from] EngineError),
}

impl From<Busy> for NotForeseen {
    fn from(busy: Busy) -> NotForeseen {
        match busy {
            Busy::Taken => NotForeseen::Taken,
            Busy::Rests(left) => NotForeseen::Rests(left),
        }
    }
}

impl VatService {
    /// The whole upgrade that a draft asks for: what it leaves out is taken from the code that the vat runs.
    ///
    /// # Errors
    /// In words: this host does not have that code.
    pub fn complete_upgrade(&self, draft: UpgradeDraft) -> Result<Upgrade, String> {
        let UpgradeDraft { bundle, argv, endowments, image } = draft;
        if let (Some(bundle), Some(argv), Some(endowments)) = (&bundle, &argv, &endowments) {
            let (bundle, argv, endowments) = (bundle.clone(), argv.clone(), endowments.clone());
            return Ok(Upgrade { bundle, argv, endowments, image });
        }
        let code = self.view.lock().code.clone();
        let present =
            self.codes.present().filter(|present| code.as_ref().is_some_and(|code| code.upgraded(present) == *code));
        let Some(present) = present else {
            return Err("this host was not given the code that the vat runs, with its arguments: name all of it, the source, each --arg (--no-arguments if there are none), and each --endowment (--no-endowments if there are none)".to_owned());
        };
        Ok(Upgrade {
            bundle: bundle.unwrap_or(present.bundle),
            argv: argv.unwrap_or(present.argv),
            endowments: endowments.unwrap_or(present.endowments),
            image,
        })
    }

    /// Returns what would come of an upgrade now, by this replica's state, with what it would change.
    ///
    /// # Errors
    /// It was not tried, or a fault of this host.
    pub async fn foresee_upgrade(&self, upgrade: Upgrade) -> Result<ForecastStatus, NotForeseen> {
        let deadline = tokio::time::Instant::now() + TRIAL_DEADLINE;
        let mut trial = loop {
            match self.trials.take(Instant::now()) {
                Ok(trial) => break trial,
                Err(Busy::Rests(left)) if left <= REST_PATIENCE => tokio::time::sleep(left).await,
                Err(busy) => return Err(busy.into()),
            }
        };
        let look = self.replica.inspect(move |machine: &mut VatMachine| {
            trial.begin();
            machine.foresee(upgrade)
        });
        let tried = tokio::time::timeout_at(deadline, look).await.ok().flatten();
        let forecast = tried.ok_or(NotForeseen::NoLook)??;
        self.telemetry.trial_fuel.with_label_values(&[self.name.as_str()]).inc_by(forecast.fuel);
        Ok(forecast)
    }

    /// Puts an upgrade to the owners of the members.
    ///
    /// # Errors
    /// It can't be proposed, or was rejected.
    pub async fn upgrade(&self, upgrade: Upgrade, deadline: Duration) -> Result<UpgradeOutcome, ReconfigureError> {
        let (code, number) = {
            let view = self.view.lock();
            (view.code.clone(), view.upgrade_orders)
        };
        let Some(code) = code else {
            return Ok(UpgradeOutcome::Refused("the vat has no code yet: install it".to_owned()));
        };
        let motion = UpgradeMotion::of(&upgrade, &code, number);
        if let Err(why) = self.codes.propose(&motion.content, &upgrade) {
            return Ok(UpgradeOutcome::Refused(format!("the upgrade can't be noted: {why}")));
        }
        match self.replica.put_motion(motion.encode(), deadline).await {
            Ok(proposed) => Ok(match codec::decode(&proposed.result) {
                Ok(VatResult::Upgraded) => UpgradeOutcome::Done(proposed.block),
                Ok(VatResult::UpgradeFailed { message }) => UpgradeOutcome::Failed(message),
                Ok(VatResult::Refused { message }) => UpgradeOutcome::Refused(message),
                Ok(other) => UpgradeOutcome::Refused(format!("an unexpected result: {other:?}")),
                Err(error) => UpgradeOutcome::Refused(format!("a result that does not decode: {error}")),
            }),
            Err(error @ ReconfigureError::Waits { .. }) => Ok(UpgradeOutcome::Waits(error.to_string())),
            Err(error) => Err(error),
        }
    }
}

/// The command that carries out a motion whose code this host proposed.
pub(super) fn command(codes: &Codes, motion: &[u8], approvals: Vec<MemberSignature>) -> Vec<u8> {
    let proposed = UpgradeMotion::decode(motion).and_then(|motion| codes.proposed(&motion.content));
    // Nobody carries out what does not have the content of its motion.
    let upgrade = proposed.unwrap_or_else(|| Upgrade {
        bundle: Bundle { entry: String::new(), modules: Default::default() },
        argv: Vec::new(),
        endowments: Vec::new(),
        image: None,
    });
    codec::encode(&VatCommand::Upgrade(Box::new(UpgradeOrder { upgrade, motion: motion.to_vec(), approvals })))
}

/// A forecast for people and scripts.
pub(super) fn shown(forecast: Forecast, changes: Vec<String>) -> ForecastStatus {
    let lost_objects = forecast.lost_objects.into_iter();
    ForecastStatus {
        changes,
        failure: forecast.failure,
        hands_over: forecast.hands_over,
        baggage: forecast.baggage,
        kinds: forecast.kinds,
        kept: forecast.kept,
        lost: forecast.lost,
        lost_objects: lost_objects.map(|(object, interface)| (object, interface.unwrap_or_default())).collect(),
        promises: forecast.promises,
        calls: forecast.calls,
        timers: forecast.timers,
        bytes: forecast.bytes,
        fuel: forecast.fuel,
        logs: forecast.logs.into_iter().map(|line| line.text).collect(),
    }
}
