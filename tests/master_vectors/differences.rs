//! What our machines do otherwise than the real nodes of the transcripts, on purpose.

/// What our machines do otherwise on purpose.
pub(crate) struct Difference {
    pub(crate) scenario: &'static str,
    pub(crate) why: &'static str,
    pub(crate) ours: Ours,
}

pub(crate) enum Ours {
    /// These bytes in place of the real node's.
    Writes { link: &'static str, theirs: &'static str, ours: &'static str },
    /// Nothing in place of these bytes.
    Silent { link: &'static str, theirs: &'static str },
    /// These bytes, where the transcript has not looked for any.
    WritesUnseen { link: &'static str, ours: &'static str },
    /// Closes the link that the real node leaves open.
    Closes { link: &'static str },
    /// What the note says of the real node is not so.
    NotAs { note: &'static str },
}

pub(crate) fn differences() -> Vec<Difference> {
    let mut all = Vec::new();
    let mut differ = |scenario, why, ours| all.push(Difference { scenario, why, ours });
    master_differences(&mut differ);
    slave_differences(&mut differ);
    all
}

fn master_differences(differ: &mut impl FnMut(&'static str, &'static str, Ours)) {
    let slaves = "fake_slaves_join_register_query";
    let why = "the first living owner wins: the loser alone is told, nothing is broadcast";
    let (theirs, ours) = ("0e0c4e344e4f535543482277000002", "0e0c4e344e4f535543482242000003");
    differ(slaves, why, Ours::Writes { link: "control2", theirs, ours });
    differ(slaves, why, Ours::Silent { link: "control3", theirs });
    let why = "handles are passed on in Skynet's own form, not in that of the sender";
    for link in ["control2", "control3"] {
        let (theirs, ours) = ("110c4e2c464c4f4154420000003002008841", "0d0c4e2c464c4f41542246000003");
        differ(slaves, why, Ours::Writes { link, theirs, ours });
        let (theirs, ours) = ("0e0c4e344249474e454722020000ff", "120c4e344249474e454732020000ff00000000");
        differ(slaves, why, Ours::Writes { link, theirs, ours });
    }

    let why = "size byte 0 breaks the link at once, not when the next byte comes";
    differ("first_package_H_size_0", why, Ours::Closes { link: "control" });
    differ("first_package_H_size_0_then_more", why, Ours::Closes { link: "control" });
    for scenario in ["later_package_size_0", "later_package_size_0_then_Q"] {
        differ(
            scenario,
            "this witness was not listened to",
            Ours::WritesUnseen { link: "witness", ours: "040c440a64" },
        );
    }
    for (scenario, why) in [
        ("first_package_H_no_address", "a slave without an address cannot be linked to"),
        ("first_package_H_id_is_string", "ids are numbers"),
        ("first_package_H_id_300", "ids are 1..=255: more does not fit in a handle"),
        ("first_package_H_id_negative", "ids are 1..=255: more does not fit in a handle"),
    ] {
        differ(scenario, why, Ours::Silent { link: "control", theirs: "040c570a01" });
        differ(scenario, why, Ours::Closes { link: "control" });
    }
    let why = "a slave without an id is refused, not taken in and dropped";
    differ("first_package_H_id_missing", why, Ours::Silent { link: "control", theirs: "040c570a01" });

    let (scenario, why) =
        ("later_package_R_number_name", "names are strings: the link is broken as by a nil");
    for link in ["control", "witness"] {
        differ(scenario, why, Ours::Silent { link, theirs: "060c4e0a0c0a05" });
    }
    differ(scenario, why, Ours::Silent { link: "control", theirs: "0f0c4e3c534552564943452208000001" });
    differ(scenario, why, Ours::Closes { link: "control" });
    differ(scenario, why, Ours::WritesUnseen { link: "witness", ours: "040c440a64" });
}

fn slave_differences(differ: &mut impl FnMut(&'static str, &'static str, Ours)) {
    let why = "a death counts when it is reported, not at the next link: ours is ready and asks for SERVICE";
    let note = "nothing from the node for 1000 ms: D alone does not end the waiting";
    differ("fake_master_wait_two", why, Ours::NotAs { note });

    let why = "an id that comes back is dialled: the link is the truth, not the master's word";
    let note = "no connect to 99 within 0.7 s";
    differ("fake_master_odd_packages", why, Ours::NotAs { note });
    let note = "no connect within 0.7 s";
    differ("fake_master_C_after_lost_link", why, Ours::NotAs { note });

    let why = "a link from an id that was reported dead is welcome: the link is the truth";
    let note = "node closed the link (EOF): refused without a byte";
    let scenario = "fake_master_D_then_link_while_waiting";
    differ(scenario, why, Ours::NotAs { note });
    differ(scenario, why, Ours::WritesUnseen { link: "harbor 7-5", ours: "05" });

    let scenario = "fake_master_register_query";
    let why = "one Q on the link while anybody waits for the name";
    for _ in 0..2 {
        differ(scenario, why, Ours::Silent { link: "control", theirs: "060c511c554e4b" });
    }
    let why = "a name of 16 bytes or more is refused before it gets here";
    for theirs in ["130c51845349585445454e5f42595445535f4e4d", "130c5184534556454e5445454e5f42595445535f"] {
        differ(scenario, why, Ours::Silent { link: "control", theirs });
    }

    let why = "the listener stays open, so that older nodes can dial again";
    let note = "a TCP connect to the node's own address after it is ready";
    differ("fake_master_first", why, Ours::NotAs { note });
}
