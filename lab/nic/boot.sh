#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Process 1 of a guest, on the host's files: what a system's start does, as far as tests need it, then `$share/run`.
share=$1
export PATH=$share/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
ln -sf /proc/self/fd /dev/fd
echo "$share/bin/modprobe" >/proc/sys/kernel/modprobe
modprobe tun # makes /dev/net/tun, as udev would
ip link set lo up
"$share/run" >"$share/output" 2>&1 </dev/null
echo $? >"$share/status"
sync
echo o >/proc/sysrq-trigger # off, at once
sleep 60
