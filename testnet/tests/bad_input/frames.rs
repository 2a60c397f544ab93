//! Frames of strangers, and of members of other vats.

use crate::{
    home, host_id, outsider,
    support::{LONG, metric, sturdyref},
    three_hosts,
};
use bytes::Bytes;
use quorate_engine::VatId;
use quorate_net::{NetError, Network, Purpose};
use quorate_protocol::{
    codec,
    wire::{DirectoryReply, DirectoryRequest},
};

fn garbage() -> [Vec<u8>; 5] {
    let slice_of_nothing = [&[1u8][..], &[0; 300]].concat();
    let claims_four_gigabytes = [&[1u8, 253][..], &u64::MAX.to_le_bytes()].concat();
    [vec![], vec![0xff; 10_000], b"\x01".to_vec(), slice_of_nothing, claims_four_gigabytes]
}

#[test]
fn frames_of_strangers_and_of_members_of_other_vats_are_refused() {
    const AGREEMENT: [Purpose; 4] = [Purpose::Append, Purpose::Vote, Purpose::Snapshot, Purpose::Propose];
    let net = three_hosts();
    let counter = sturdyref(&net, "counter").vat;
    let shared = sturdyref(&net, "shared").vat;
    let alpha = host_id(&net, "alpha");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (stranger, _) = outsider(&net, [0x33; 32]).await;
        // Once each: whatever a stranger sends there is closed before it is read, which `strangers.rs` shows with raw bytes.
        for purpose in AGREEMENT.into_iter().chain([Purpose::Admin]) {
            let frame = Bytes::from([&counter.0[..], &[0xff; 100]].concat());
            let refused = stranger.request(alpha, purpose, frame, LONG).await;
            assert_eq!(refused, Err(NetError::Forbidden { host: alpha, purpose }));
        }
        // On the share channel, a member that has only just been admitted introduces itself: strangers may try.
        for purpose in [Purpose::Slice, Purpose::Directory, Purpose::Share] {
            for body in garbage() {
                let frame = if purpose == Purpose::Share { [&counter.0[..], &body].concat() } else { body };
                let refused = stranger.request(alpha, purpose, frame.into(), LONG).await;
                assert!(matches!(refused, Err(NetError::Refused(_))), "{purpose}: {refused:?}");
            }
        }
        let nobody = codec::encode(&DirectoryRequest::WhoIs(VatId([0x44; 32])));
        let answer = stranger.request(alpha, Purpose::Directory, nobody.into(), LONG).await.expect("an answer");
        assert_eq!(codec::decode(&answer), Ok(DirectoryReply::Unknown));
        stranger.shutdown().await;

        // A member of one vat may open such streams. It is still a stranger to the other vats, and garbage is garbage.
        let (member, _) = outsider(&net, home(&net, "absent").key.to_bytes()).await;
        for vat in [counter, shared, VatId([0x44; 32])] {
            for purpose in AGREEMENT {
                for body in garbage() {
                    let frame = Bytes::from([&vat.0[..], &body].concat());
                    let answer = member.request(alpha, purpose, frame, LONG).await;
                    // To Raft messages of those whom a replica does not know it answers that it does not know them.
                    let unknown = vat == counter && matches!(purpose, Purpose::Append | Purpose::Vote);
                    let refused = matches!(answer, Err(NetError::Refused(_)));
                    assert!(refused || unknown && answer.is_ok(), "{purpose}: {answer:?}");
                }
            }
        }
        member.shutdown().await;
    });
    let page = net.metrics("alpha");
    // The stranger's on the open purposes, the member's to its own vat on the others.
    for purpose in Purpose::ALL.into_iter().filter(|purpose| *purpose != Purpose::Admin) {
        let labels = [&*format!("purpose=\"{purpose}\"")];
        let malformed = metric(&page, "quorate_malformed_frames_total", &labels);
        assert_eq!(malformed, garbage().len() as f64, "{purpose}");
    }
    for purpose in AGREEMENT.into_iter().chain([Purpose::Admin]) {
        let purpose = format!("purpose=\"{purpose}\"");
        let forbidden = metric(&page, "quorate_net_rejected_total", &[&purpose, "reason=\"forbidden\""]);
        assert_eq!(forbidden, 1.0, "{purpose}");
    }
    for purpose in AGREEMENT {
        let purpose = format!("purpose=\"{purpose}\"");
        let refused = metric(&page, "quorate_net_rejected_total", &[&purpose, "reason=\"refused\""]);
        assert!(refused >= 2.0 * garbage().len() as f64, "{purpose}: {refused}");
    }
    for vat in ["counter", "shared"] {
        assert_eq!(net.call(vat, "increment", &[]), serde_json::json!(1));
    }
    // A member of `shared` is missing from the beginning.
    net.wait("a status without complaints", || (net.vat(&["status", "counter"]).code == 0).then_some(()));
}
