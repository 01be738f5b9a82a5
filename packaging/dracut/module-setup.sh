#!/bin/bash
# A module of dracut: the rules for TPM nodes, and the user and the group that they name, for the udev
# of the initramfs. A node keeps the owner that it got there until it is triggered again, so the numbers
# are those of this system, and not what systemd-sysusers would choose in the initramfs.

check() {
	grep -q '^tss:' "${dracutsysrootdir-}/etc/passwd" &&
		grep -q '^tss:' "${dracutsysrootdir-}/etc/group"
}

depends() {
	echo udev-rules
}

install() {
	local database

	# shellcheck disable=SC2154 # dracut sets initdir
	mkdir -p "$initdir/etc"
	for database in passwd group; do
		grep -q '^tss:' "$initdir/etc/$database" 2>/dev/null ||
			grep '^tss:' "${dracutsysrootdir-}/etc/$database" >>"$initdir/etc/$database"
	done
	inst_rules 60-tpmgate.rules 60-tpmgate-usb.rules
}
