// SPDX-License-Identifier: Apache-2.0
//! Elements and their text.

use offramp_state::shape::from_number;
use offramp_state::text::{Unread, family_of, from_lines, from_text};
use offramp_state::{Family, Shape, Structure, Wrong};

fn shape(structure: Structure, family: Family) -> Shape {
    let capacity = if family == Family::Port { 65536 } else { 10 };
    Shape::new(structure, family, capacity).expect("a shape")
}

const IP: (Structure, Family) = (Structure::Hash, Family::Ip);
const IP6: (Structure, Family) = (Structure::Hash, Family::Ip6);
const PORT: (Structure, Family) = (Structure::Bitmap, Family::Port);
const ETHER: (Structure, Family) = (Structure::Hash, Family::Ether);
const NET: (Structure, Family) = (Structure::Ranges, Family::Ip);
const NET6: (Structure, Family) = (Structure::Ranges, Family::Ip6);

#[test]
fn text_is_made_canonical() {
    for ((structure, family), text, canonical) in [
        (IP, "10.0.0.1", "10.0.0.1"),
        (IP, "10.0.0.1/32", "10.0.0.1"),
        (IP6, "2001:DB8:0:0::1", "2001:db8::1"),
        (IP6, "::ffff:1.2.3.4", "::ffff:1.2.3.4"),
        (PORT, "443", "443"),
        (PORT, "0", "0"),
        (ETHER, "2:0:5E:10:00:0", "02:00:5e:10:00:00"),
        (ETHER, "02-00-5e-10-00-00", "02:00:5e:10:00:00"),
        (NET, "203.0.113.0/24", "203.0.113.0/24"),
        (NET, "203.0.113.7", "203.0.113.7"),
        (NET, "203.0.113.7/32", "203.0.113.7"),
        (NET, "0.0.0.0/0", "0.0.0.0/0"),
        (NET6, "2001:db8::/32", "2001:db8::/32"),
        (NET6, "::/0", "::/0"),
    ] {
        let mut written = String::new();
        from_text(shape(structure, family), text)
            .expect(text)
            .write(family, &mut written);
        assert_eq!(written, canonical);
    }
}

#[test]
fn what_is_wrong_is_said() {
    for ((structure, family), text, wrong) in [
        (IP, "10.0.0.256", Wrong::Text),
        (IP, "010.0.0.1", Wrong::Text),
        (IP, "", Wrong::Text),
        (IP, "10.0.0.0/24", Wrong::Network),
        (IP, "::1", Wrong::Family(Family::Ip6)),
        (IP, "80", Wrong::Family(Family::Port)),
        (IP6, "10.0.0.1", Wrong::Family(Family::Ip)),
        (IP6, "fe80::1%eth0", Wrong::Text),
        (PORT, "65536", Wrong::Number),
        (PORT, "-1", Wrong::Text),
        (PORT, "+1", Wrong::Text),
        (PORT, "http", Wrong::Text),
        (ETHER, "02:00:5e:10:00", Wrong::Text),
        (ETHER, "02:00:5e:10:00:0g", Wrong::Text),
        (NET, "203.0.113.0/33", Wrong::Length),
        (NET, "203.0.113.0/999999", Wrong::Text),
        (NET, "203.0.113.0/", Wrong::Text),
        (NET, "203.0.113.0/024", Wrong::Text),
        (NET, "203.0.113.7/24", Wrong::HostBits(0xCB00_7100, 24)),
        (NET, "2001:db8::/32", Wrong::Family(Family::Ip6)),
        (NET6, "2001:db8::1/32", Wrong::HostBits(0x2001_0DB8 << 96, 32)),
        (NET6, "1::/0", Wrong::HostBits(0, 0)),
    ] {
        assert_eq!(from_text(shape(structure, family), text), Err(wrong), "{text}");
    }
    assert_eq!(from_number(shape(IP.0, IP.1), 1 << 32, None), Err(Wrong::Number));
    assert_eq!(from_number(shape(NET.0, NET.1), 0, Some(200)), Err(Wrong::Length));
}

#[test]
fn a_text_has_one_family() {
    for (text, family) in [
        ("10.0.0.1", Some(Family::Ip)),
        ("10.0.0.0/8", Some(Family::Ip)),
        ("::", Some(Family::Ip6)),
        ("1:2:3:4:5:6:7:8", Some(Family::Ip6)),
        ("1:2:3:4:5:6", Some(Family::Ether)),
        ("80", Some(Family::Port)),
        ("eighty", None),
        ("", None),
    ] {
        assert_eq!(family_of(text), family, "{text}");
    }
}

#[test]
fn lines_have_numbers() {
    let net = shape(NET.0, NET.1);
    let text = "# a comment\n\n 10.0.0.0/8 # inside\r\n10.1.0.0/16";
    assert_eq!(from_lines(net, text).expect("good lines").len(), 2);
    let wrong = |text| from_lines(net, text).expect_err("a line that is wrong");
    assert_eq!(wrong("10.0.0.0/8\n\nten\n"), Unread::Line(3, "ten", Wrong::Text));
    assert_eq!(wrong("ten words # 10\n"), Unread::Line(1, "ten words", Wrong::Text));
}

#[test]
fn lines_of_lists_from_elsewhere() {
    let net = shape(NET.0, NET.1);
    let text = "; SBL\n10.0.0.0/8 ; SBL1\n10.1.0.0/16\tAS64500 Inc.\ncreate x hash:net\nadd x 10.2.0.0/16 timeout 5";
    assert_eq!(from_lines(net, text).expect("good lines").len(), 3);
    for line in [
        "10.0.0.0 255.0.0.0",
        "10.0.0.0 - 10.0.0.9",
        "10.0.0.0,10.0.0.1",
        "add x 10.0.0.0/8 nomatch",
        "add x",
    ] {
        assert_eq!(from_lines(net, line), Err(Unread::Line(1, line, Wrong::Text)));
    }
}
