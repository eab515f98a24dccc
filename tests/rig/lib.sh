# The rig's host side, shared by build, run and shell: where things are, what is said, how the machine is started.
# shellcheck shell=bash

rig=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${ROLEMODEL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rolemodel}/rig
PATH+=:/usr/sbin:/sbin

say() { printf '[%3d s] %s\n' "$SECONDS" "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# need COMMAND PACKAGE ...: stop unless every command is here.
need() {
    local missing=()
    for (( ; $#; )); do
        command -v "$1" >/dev/null || missing+=("$2")
        shift 2
    done
    [[ ${#missing[@]} -eq 0 ]] || die "this needs: apt-get install ${missing[*]}"
}

# pack DIR: DIR as an initramfs segment on stdout. The kernel accepts several in a row.
pack() { (cd "$1" && find . -mindepth 1 | sort | cpio --quiet -o -H newc -R 0:0); }

# One rig a machine: two on a few cores slow each other down beyond every deadline.
lock() {
    mkdir -p "$cache"
    exec 9>"$cache/lock"
    flock -n 9 && return
    say "waiting for another rig to end"
    flock 9
}

# payload DIR: a disk from DIR, laid over dom0's root at boot.
payload() {
    local kib
    kib=$(du -sk --apparent-size "$1" | cut -f1)
    : >"$cache/payload.ext4"
    mke2fs -q -F -t ext4 -O ^has_journal -m 0 -i 8192 -E root_owner=0:0 -d "$1" \
        "$cache/payload.ext4" $((kib * 5 / 4 + 4096))k
}

# stage DIR: what every boot needs over dom0's root, in DIR.
stage() {
    local install=${ROLEMODEL_DESTDIR:-$rig/../../build/install}
    [[ -d $install ]] || die "there is no rolemodel to test in $install: tests/build plain makes it"
    cp -a "$install/." "$1"
    mkdir -p "$1/rig"
    cp -r "$rig/dom0/." "$rig/scenarios" "$1/rig/"
    cp "$cache/vmlinux" "$cache/guest.cpio" "$cache/hvm.img" "$cache/uefi.img" "$cache/rig-irq.ko" "$1/rig/"
    if [[ -e $rig/guests/micro/Makefile ]]; then
        make -s -C "$rig/guests/micro" OUT="$1/rig/micro"
    fi
    make -s -C "$rig/guests/uefi-app" OUT="$1/rig/uefi"
    # rolemodel with the doorbell role, which no guest of an administrator has; users of the shmem role's memory; a
    # backend that answers wrongly.
    local programs=$rig/../../build/plain/tests/roles
    if [[ -e $programs ]]; then
        mkdir -p "$1/rig/roles"
        cp "$programs/rolemodel-test" "$1/rig/roles/rolemodel"
        ln -s rolemodel "$1/rig/roles/rolemodel-dm"
        cp "$programs/shmem-peer" "$programs/shmem-user" "$programs/bad-backend" "$1/rig/"
    fi
    # The conformance set is built with everything else, but not installed.
    local conformance=$rig/../../build/plain/tests/conformance/conformance
    if [[ -e $conformance ]]; then
        mkdir -p "$1/rig/conformance"
        cp "$conformance" "$rig/../conformance/expected" "$1/rig/conformance/"
    fi
}

# boot DIR KERNEL_ARGS QEMU_ARG...: become the machine, with DIR as dom0's /results and Xen's and dom0's console in it.
# -cpu: AMD's SVM is what TCG can nest; the preload is explained in its source.
boot() {
    local dir=$1 args="root=/dev/vda console=hvc0 loglevel=4 mitigations=off audit=0 $2"
    shift 2
    LD_PRELOAD=$cache/bql.so exec qemu-system-x86_64 \
        -accel tcg,thread=multi -machine q35 -cpu qemu64,+svm,+npt -smp 2 -m 6144 \
        -nodefaults -display none -no-reboot \
        -kernel "$cache/xen" \
        -append "console=com1 com1=115200,8n1 dom0_mem=2048M,max:2048M loglvl=warning guest_loglvl=all console_timestamps=boot" \
        -initrd "$cache/vmlinux $args,$cache/dom0.cpio" \
        -drive "file=$cache/root.ext4,format=raw,if=virtio,readonly=on" \
        -drive "file=$cache/payload.ext4,format=raw,if=virtio,readonly=on" \
        -virtfs "local,path=$dir,mount_tag=results,security_model=none" \
        -serial "file:$dir/serial.log" "$@"
}
