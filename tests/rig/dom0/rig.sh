# The scenarios' words. A scenario is bash, sourced after this file in a scratch directory of its own; it passes by
# reaching its end. Its first line is "# " and a summary; "# deadline: SECONDS" on a line changes what it may take (240).
# Everything it waits for has a deadline in SECONDS, and nothing here sleeps. Guests and processes left at the end are
# dealt with by run-scenarios: guests are destroyed, a process outliving its guest is a failure.
# shellcheck shell=bash
set -Eeuo pipefail
PS4='+ ${SECONDS} s: ' # in the scenario's output
trap 'reason "line $LINENO: failed: $BASH_COMMAND"' ERR

scratch=$PWD

# The device model of the guests: libxl's default unless a scenario sets another path.
DM=

# The first reason given is the one reported.
reason() { [[ -s $scratch/reason ]] || echo "${*//$'\n'/ }" >"$scratch/reason"; }
fail() { reason "$@"; exit 1; }

# note TEXT: a line for whoever watches, such as a measurement.
note() { echo "note $SCENARIO $*" >>/results/events; }

# equal WHAT EXPECTED ACTUAL
equal() { [[ $2 == "$3" ]] || fail "$1: expected '$2', got '$3'"; }

# has FILE REGEX: FILE has such a line.
has() { grep -qaE -e "$2" "$1" || fail "no line of ${1##*/} is like: $2"; }

# vm NAME pv|pvh|hvm [LINE...] [<<SCRIPT]: writes NAME.cfg.
# SCRIPT is what the guest runs once Linux is up, with guests/init's words; files in NAME.d go with it. Without a script,
# the lines say what to boot.
# LINE is a line of xl.cfg, and wins over what is set here. disk=SPEC may come several times, SPEC in xl's syntax;
# disk=tools is dom0's own root as /dev/xvdz, read-only and served by the kernel's blkback whatever the device model.
vm() {
    local name=$1 type=$2 line script disks='' lines=()
    shift 2
    script=$(cat)
    # tsc_mode: Xen does not trust the emulated clock and would intercept every rdtsc of the guest, which is slow, and
    # deadly: now and then an exit of a nested guest goes wrong in QEMU, and the guest ends with a triple fault.
    lines=("name=\"$name\"" "type=\"$type\"" memory=224 vcpus=1 'tsc_mode="native"'
        'on_reboot="destroy"' 'on_crash="destroy"')
    [[ -z $DM ]] || lines+=("device_model_override=\"$DM\"")
    [[ $type != hvm ]] || lines+=('vga="none"' nographic=1 usb=0 'hdtype="ahci"')
    if [[ $script ]]; then
        mkdir -p "$name.d"
        printf '%s\n' "$script" >"$name.d/script"
        (cd "$name.d" && find . -type f | cpio --quiet -o -H newc) >"$name.cpio"
        if [[ $type == hvm ]]; then
            cp /rig/hvm.img "$name.img"
            mcopy -i "$name.img" "$name.cpio" ::script
            printf '%s\n' 'DEFAULT rig' 'LABEL rig' 'KERNEL linux' 'INITRD guest,script' "APPEND $guest_args" |
                mcopy -i "$name.img" - ::syslinux.cfg
            disks+="'format=raw,vdev=hda,backendtype=qdisk,access=rw,target=$scratch/$name.img',"
        else
            cat /rig/guest.cpio "$name.cpio" >"$name.initrd"
            lines+=('kernel="/rig/vmlinux"' "ramdisk=\"$scratch/$name.initrd\"" "extra=\"$guest_args\"")
        fi
    fi
    for line; do
        case $line in
        disk=tools) disks+="'format=raw,vdev=xvdz,access=ro,backendtype=phy,target=/dev/vda'," ;;
        disk=*) disks+="'${line#disk=}'," ;;
        *) lines+=("$line") ;;
        esac
    done
    printf '%s\n' "${lines[@]}" "disk=[$disks]" >"$name.cfg"
}
guest_args='console=hvc0 loglevel=4 mitigations=off audit=0 panic=-1'

# create NAME [SECONDS]: xl create, its output in NAME.xl.log.
create() {
    timeout "${2:-120}" xl -vvv create "$1.cfg" >"$1.xl.log" 2>&1 </dev/null ||
        fail "xl create $1: $(grep -m1 -E 'error:' "$1.xl.log" || tail -n1 "$1.xl.log")"
}

domid() { xl domid "$1"; }
console() { echo "/var/log/xen/console/guest-$1.log"; }
dm_log() { echo "/var/log/xen/qemu-dm-$1.log"; }

# await_port DOMID REGEX [SECONDS]: until that guest has written a line to port 0xE9 that begins so; the line is printed.
await_port() { await_line "$xen_log" "^\(d$1\) \[[^]]*\] $2" "${3:-240}"; }
# The log of what Xen says, and guests through that port.
xen_log=/var/log/xen/console/hypervisor.log

# type_in NAME TEXT: TEXT and a return on the guest's console.
type_in() { echo "$2" >"$(xenstore-read "/local/domain/$(domid "$1")/console/tty")"; }

# tell NAME WORD: what the guest's await_word waits for.
tell() { xenstore-write "/local/domain/$(domid "$1")/rig" "$2"; }

# await_line FILE REGEX [SECONDS]: until FILE, which may not exist yet, has such a line; the line is printed.
await_line() {
    grep -m1 -aE -e "$2" < <(exec timeout "${3:-60}" tail -n +1 -F "$1" 2>/dev/null) ||
        fail "within ${3:-60} s no line of ${1##*/} was like: $2"
}

# await_guest NAME [SECONDS]: until the guest's script has ended, and well.
await_guest() {
    local line
    line=$(await_line "$(console "$1")" '^GUEST (DONE|FAILED)|Kernel panic' "${2:-120}")
    [[ $line == 'GUEST DONE'* ]] || fail "$1: ${line%$'\r'}"
}

# await_node PATH REGEX [SECONDS]: until that xenstore node's value is like REGEX; '^$' is also an absent node.
await_node() {
    while read -r _; do
        [[ ! $(xenstore-read "$1" 2>/dev/null) =~ $2 ]] || return 0
    done < <(exec timeout "${3:-60}" xenstore-watch "$1")
    fail "within ${3:-60} s $1 was not like $2 but '$(xenstore-read "$1" 2>/dev/null)'"
}

# await_gone DOMID [SECONDS]: until the guest of that number is no more.
await_gone() { await_node "/local/domain/$1/name" '^$' "${2:-60}"; }

# await_exit PID [SECONDS]: until that process has ended.
await_exit() { timeout "${2:-60}" tail --pid="$1" -s 0.1 -f /dev/null || fail "process $1 did not end within ${2:-60} s"; }

# await_lines COUNT FILE REGEX [SECONDS]: until FILE has that many such lines.
await_lines() {
    local found
    found=$(grep -m"$1" -caE -e "$3" < <(exec timeout "${4:-60}" tail -n +1 -F "$2" 2>/dev/null)) || :
    [[ $found == "$1" ]] || fail "within ${4:-60} s only $found of $1 lines of ${2##*/} were like: $3"
}

# await_no_guest NAME [SECONDS]: until there is no guest of that name.
await_no_guest() {
    while read -r _; do
        xl domid "$1" >/dev/null 2>&1 || return 0
    done < <(exec timeout "${2:-60}" xenstore-watch @releaseDomain)
    fail "guest $1 did not end within ${2:-60} s"
}

# await_no_process NAME [SECONDS]: until the last process whose name begins so has ended.
await_no_process() {
    local pid
    for pid in $(pgrep "^$1" || :); do await_exit "$pid" "${2:-30}"; done
}

# qdisk VDEV FILE [rw|ro]: a line for vm: a raw image or block device served by the device model.
qdisk() { echo "disk=format=raw,vdev=$1,backendtype=qdisk,access=${3:-rw},target=$(realpath -m "$2")"; }

# uefi NAME [LINE...]: writes NAME.cfg of an HVM guest that starts with OVMF, with our drivers in it; LINE is as vm's.
uefi() {
    # With AHCI there would be another function of which firmware wants to know everything, at 3.5 ms a question.
    vm "$1" hvm 'bios="ovmf"' 'bios_path_override="/usr/share/rolemodel/OVMF.fd"' 'hdtype="ide"' memory=384 \
        "${@:2}" </dev/null
}

# system_partition DISK APPLICATION: makes that file or block device, of 16 MiB or more, a GPT disk from which firmware
# starts one of the programs of guests/uefi-app. sfdisk and FAT go by the sectors of a block device.
system_partition() {
    local sector=512
    [[ ! -b $1 ]] || sector=$(blockdev --getss "$1")
    echo 'size=8MiB, type=uefi' | sfdisk -q --label gpt "$1"
    system_files "$1.esp" $((8 << 20)) "$2" "$sector"
    dd if="$1.esp" of="$1" bs=1M seek=1 conv=notrunc,fsync status=none
}

# system_files FILE SIZE APPLICATION [SECTOR]: such a partition's file system, alone.
system_files() {
    local code=2 # of 512; each one more is twice as much
    [[ ${4:-512} != 4096 ]] || code=5
    rm -f "$1"
    truncate -s "$2" "$1"
    mformat -i "$1" -T $(($2 / (128 << code))) -S $code ::
    mmd -i "$1" ::EFI ::EFI/BOOT
    mcopy -i "$1" "/rig/uefi/$3.efi" ::EFI/BOOT/BOOTX64.EFI
}
