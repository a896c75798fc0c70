#!/bin/sh
# Reserves huge pages and hands NICs to vfio-pci, as /etc/default/sluice-host says. May be run again at any time.
set -eu

sys=${SYS:-/sys}
failed=0

say() {
    echo "prepare-host: $*" >&2
}

# reserve KIB COUNT: at least so many pages of this size, as far as the machine has them.
reserve() {
    pool=$sys/kernel/mm/hugepages/hugepages-$1kB
    [ "$2" -gt 0 ] || return 0
    if [ ! -d "$pool" ]; then
        say "this machine has no huge pages of $1 KiB"
        failed=1
        return 0
    fi
    [ "$(cat "$pool/nr_hugepages")" -ge "$2" ] || echo "$2" > "$pool/nr_hugepages"
    got=$(cat "$pool/nr_hugepages")
    if [ "$got" -lt "$2" ]; then
        say "$got of $2 huge pages of $1 KiB: memory is in pieces; add hugepagesz=$1K hugepages=$2 to" \
            "GRUB_CMDLINE_LINUX, run update-grub and reboot"
        failed=1
    fi
}

# hand_over ADDRESS: the NIC leaves the kernel's driver, now and at each boot.
hand_over() {
    device=$sys/bus/pci/devices/$1
    if [ ! -d "$device" ]; then
        say "there is no PCI device $1; lspci -D lists them"
        failed=1
        return 0
    fi
    [ "$(basename "$(readlink "$device/driver" || true)")" != vfio-pci ] || return 0
    if ! command -v driverctl > /dev/null; then
        say "$1: driverctl is missing: apt-get install driverctl"
        failed=1
    elif ! driverctl set-override "$1" vfio-pci; then
        say "$1: cannot be bound to vfio-pci; is the IOMMU on (intel_iommu=on iommu=pt)?"
        failed=1
    fi
}

reserve 1048576 "${HUGE_PAGES_1G:-0}"
reserve 2048 "${HUGE_PAGES_2M:-0}"
[ -z "${NICS:-}" ] || modprobe vfio-pci || failed=1
for nic in ${NICS:-}; do
    hand_over "$nic"
done
exit $failed
