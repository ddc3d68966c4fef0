# needs: e2fsck
# The ext2 checker, on a file system that busybox makes and one that is damaged.
PATH=$1
dd if=/dev/zero of=image bs=1k count=2048 2> /dev/null; mke2fs -F -b 1024 image > /dev/null
"$2/e2fsck" -fn image 2> /dev/null; echo "status $?"
dd if=/dev/zero of=image bs=1k seek=6 count=2 conv=notrunc 2> /dev/null
"$2/e2fsck" -fy image > said 2>&1; echo "status $?"; "$2/e2fsck" -fn image > said 2>&1; echo "status $?"
rm image said
