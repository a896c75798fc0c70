//! What messages of ARP and neighbour discovery on a link have to do with the box's own addresses there: who is a neighbour, who has
//! an address of the box's besides, and what the box says of its addresses unasked.

use std::net::IpAddr;

use sluice_conntrack::PortId;
use sluice_conntrack::forward::{MacAddress, Router, link_local};
use sluice_conntrack::groups::Roles;

use crate::neighbour::{Bytes, Heard, Message, Speaker, write};

/// The box as a host on the link of one of its ports.
#[derive(Clone, Copy)]
pub(crate) struct OnLink<'a> {
    pub(crate) port: PortId,
    pub(crate) mac: MacAddress,
    pub(crate) router: &'a Router,
    pub(crate) roles: Roles<'a>,
}

impl OnLink<'_> {
    /// What a neighbour says of itself in a message, if anything. What an ARP request says counts whomever it asks for (RFC 826): a
    /// gratuitous one asks for its sender. Who is to be remembered is on the link: nobody else is ever sent to there.
    pub(crate) fn heard(self, message: Message) -> Option<Heard> {
        let (speaker, to_us, overrides) = match message {
            Message::Solicitation { from, target } => (from?, self.has(target), true),
            Message::Advertisement { from, overrides } => (from, false, overrides),
        };
        let is_its_own = !speaker.address.is_unspecified() && !self.has(speaker.address);
        let is_on_link = self.router.is_on_link(self.port, speaker.address);
        (is_its_own && is_on_link).then_some(Heard { ingress: self.port, speaker, to_us, overrides })
    }

    /// A host that says that it has an address of the box's (RFC 5227, RFC 4862 section 5.4), if this is what a message says.
    pub(crate) fn conflict(self, message: Message) -> Option<Speaker> {
        let (Message::Solicitation { from: Some(from), .. } | Message::Advertisement { from, .. }) = message
        else {
            return None;
        };
        (from.mac != self.mac && self.has(from.address)).then_some(from)
    }

    /// The answer to a neighbour that asks for an address, if that is the box's.
    pub(crate) fn answer(self, from: Option<Speaker>, target: IpAddr) -> Option<Bytes> {
        if self.has(target) { write(self.advertisement(target), from) } else { None }
    }

    /// What asks for a neighbour by its address. `None` where the box has no address there now to ask from.
    pub(crate) fn question(self, target: IpAddr) -> Option<Bytes> {
        let own = match target {
            IpAddr::V4(_) => self.router.source_among(self.port, target, |own| self.roles.has(own)),
            IpAddr::V6(_) => Some(link_local(self.mac).into()),
        };
        let from = own.map(|address| Speaker { address, mac: self.mac });
        write(Message::Solicitation { from, target }, None)
    }

    /// What tells all unasked that the box has an address now (RFC 5227 section 2.3, RFC 4861 section 7.2.6).
    pub(crate) fn announcement(self, own: IpAddr) -> Option<Bytes> {
        write(self.advertisement(own), None)
    }

    const fn advertisement(self, own: IpAddr) -> Message {
        Message::Advertisement { from: Speaker { address: own, mac: self.mac }, overrides: true }
    }

    /// Whether an address is this port's own, or one that NAT gives away here; one of a group as long as the box is active for that.
    fn has(self, address: IpAddr) -> bool {
        address == link_local(self.mac) || self.router.answers(self.port, address) && self.roles.has(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_conntrack::forward::Interface;
    use sluice_conntrack::groups::{Group, GroupSet, Groups, Takeover};
    use sluice_conntrack::ids::GroupId;

    const PORT: PortId = PortId(0);

    const MAC: MacAddress = [2, 0, 0, 0, 0, 1];

    fn router() -> Router {
        let own = |address: &str, length| (address.parse().unwrap(), length);
        let addresses = vec![own("10.0.0.1", 24), own("2001:db8::1", 64)];
        Router::new(vec![Interface { addresses, mtu: 1500, ..Interface::default() }], [])
    }

    fn on_link<'a>(router: &'a Router, groups: &'a Groups, active: GroupSet) -> OnLink<'a> {
        OnLink { port: PORT, mac: MAC, router, roles: Roles::new(groups, active) }
    }

    /// What is heard of the neighbour `from` as it asks for `target`: whether it asked for the box.
    fn heard_asking(from: &str, target: &str) -> Option<bool> {
        let from = Speaker { address: from.parse().unwrap(), mac: [2, 0, 0, 0, 0, 9] };
        let message = Message::Solicitation { from: Some(from), target: target.parse().unwrap() };
        let (router, groups) = (router(), Groups::default());
        on_link(&router, &groups, GroupSet::default()).heard(message).map(|heard| heard.to_us)
    }

    #[test]
    fn a_question_tells_who_asks_whomever_it_asks_for() {
        assert_eq!(heard_asking("10.0.0.2", "10.0.0.1"), Some(true));
        assert_eq!(heard_asking("10.0.0.2", "10.0.0.2"), Some(false), "gratuitous ARP");
        assert_eq!(heard_asking("10.0.0.2", "10.0.0.3"), Some(false));
        assert_eq!(heard_asking("10.0.0.1", "10.0.0.1"), None, "the box's own address");
    }

    #[test]
    fn who_has_an_address_of_the_box_is_noticed() {
        let router = router();
        let groups = Groups::default();
        let on_link = on_link(&router, &groups, GroupSet::default());
        let other: MacAddress = [2, 0, 0, 0, 0, 9];
        let address = |text: &str| text.parse().unwrap();
        for (who, mac, is_conflict) in [
            ("10.0.0.1", other, true),
            ("2001:db8::1", other, true),
            ("fe80::ff:fe00:1", other, true),
            ("10.0.0.1", MAC, false),
            ("10.0.0.2", other, false),
            ("0.0.0.0", other, false),
        ] {
            let from = Speaker { address: address(who), mac };
            let asks = Message::Solicitation { from: Some(from), target: address("10.0.0.7") };
            for message in [asks, Message::Advertisement { from, overrides: true }] {
                assert_eq!(on_link.conflict(message), is_conflict.then_some(from), "{who}");
            }
        }
        let probe = Message::Solicitation { from: None, target: address("10.0.0.1") };
        assert_eq!(on_link.conflict(probe), None, "it asks first, and is told");
    }

    #[test]
    fn the_addresses_of_a_group_are_the_boxs_own_while_it_is_active() {
        let address = |text: &str| -> IpAddr { text.parse().unwrap() };
        let group = Group { addresses: vec![(PORT, address("10.0.0.1"))], ..Group::default() };
        let (router, groups) = (router(), Groups::new(vec![group], Takeover::default()));
        let other = Speaker { address: address("10.0.0.1"), mac: [2, 0, 0, 0, 0, 9] };
        let has_it = Message::Advertisement { from: other, overrides: true };
        let asks = Some(Speaker { address: address("10.0.0.2"), mac: [2, 0, 0, 0, 0, 2] });
        for (active, is_own) in [(GroupSet::default(), false), (GroupSet::of(GroupId(0)), true)] {
            let on_link = on_link(&router, &groups, active);
            assert_eq!(on_link.answer(asks, address("10.0.0.1")).is_some(), is_own);
            assert_eq!(on_link.conflict(has_it).is_some(), is_own, "the other box may have it");
            assert_eq!(on_link.question(address("10.0.0.9")).is_some(), is_own, "nothing to ask from");
            let v6 = Some(Speaker { address: address("2001:db8::2"), mac: [2, 0, 0, 0, 0, 2] });
            assert!(on_link.answer(v6, address("2001:db8::1")).is_some(), "it is of no group");
        }
    }

    #[test]
    fn only_hosts_on_the_link_are_neighbours() {
        assert_eq!(heard_asking("10.0.1.2", "10.0.0.1"), None);
        assert_eq!(heard_asking("10.0.0.255", "10.0.0.1"), None, "all of them");
        assert_eq!(heard_asking("0.0.0.0", "10.0.0.1"), None);
        assert_eq!(heard_asking("2001:db8:1::2", "2001:db8::1"), None);
        for neighbour in ["2001:db8::2", "fe80::2"] {
            assert_eq!(heard_asking(neighbour, "2001:db8::1"), Some(true), "{neighbour}");
        }
    }
}
