#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# The first program of a guest: finds the host's files and goes over to them. Everything written is kept in memory only.
set -e
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
for module in /modules/*.ko; do $b insmod "$module"; done
for word in $($b cat /proc/cmdline); do
    case $word in lab.boot=*) boot=${word#lab.boot=} ;; lab.share=*) share=${word#lab.share=} ;; esac
done
$b mkdir /host /new /upper
$b mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose host /host
$b mount -t tmpfs -o size=512M upper /upper
$b mkdir /upper/files /upper/work
$b mount -t overlay -o lowerdir=/host,upperdir=/upper/files,workdir=/upper/work root /new
$b mkdir -p "/new$share"
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 share "/new$share"
$b umount /proc /dev
# This process becomes the next, for kernel threads share its root: modprobe is then looked for there.
exec $b switch_root /new /bin/sh "$boot" "$share"
