/* SPDX-License-Identifier: MIT */
/*
 * fill.c - Pages arrive and go to their final place
 */
#include "proxy/target/fill.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PAGE 4096

/* Bytes that UFFDIO_COPY placed: none where the area isn't registered, fewer where a page was there */
static size_t by_uffd(struct fill *f, uint64_t addr, const void *p, size_t len)
{
	struct uffdio_copy c = { .dst = addr, .src = (uint64_t)(uintptr_t)p, .len = len,
				 .mode = UFFDIO_COPY_MODE_DONTWAKE };

	if (f->uffd < 0)
		return 0;
	if (!ioctl(f->uffd, UFFDIO_COPY, &c))
		return len;
	return c.copy > 0 ? (size_t)c.copy : 0;
}

int fill_pages(struct fill *f, uint32_t space, uint64_t addr, const void *p, size_t len, struct err *e)
{
	size_t done;
	ssize_t n;

	f->pages += len / PAGE;
	if (space > f->n_objects)
		return err_say(e, -EINVAL, "memory came for object %u, which the image doesn't have", space);
	if (space) {
		n = pwrite(f->objects[space - 1], p, len, (off_t)addr);
		return n == (ssize_t)len ? 0 : err_set(e, n < 0 ? -errno : -EIO, "fill shared memory");
	}
	done = by_uffd(f, addr, p, len);
	while (done < len) {
		n = pwrite(f->mem, (const char *)p + done, len - done, (off_t)(addr + done));
		if (n <= 0)
			return err_set(e, n < 0 ? -errno : -EFAULT, "fill the program's memory at %llx",
				       (unsigned long long)(addr + done));
		done += (size_t)n;
	}
	return 0;
}
