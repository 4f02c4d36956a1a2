/* SPDX-License-Identifier: MIT */
/*
 * standard.c - The streams of a saved program that can be connected anew
 */
#include "proxy/image/standard.h"

#include <fcntl.h>
#include <string.h>

/* Kinds that are rebuilt from the image alone, or as a twin */
static bool known(int64_t kind)
{
	return kind >= OPEN_FILE && kind <= OPEN_INOTIFY;
}

static const struct image_open *twin_of(const struct image *img, const struct image_fd *f)
{
	const struct image_open *o = f->open >= 0 && (uint64_t)f->open < img->n_opens ? &img->opens[f->open] : NULL;

	return o && o->kind == OPEN_TWIN ? o : NULL;
}

/* The lowest descriptor that has this stream */
static int64_t lowest(const struct image *img, int64_t stream)
{
	int64_t least = INT64_MAX;

	for (size_t i = 0; i < img->n_fds; i++) {
		const struct image_open *o = twin_of(img, &img->fds[i]);

		if (o && o->stream == stream && img->fds[i].fd < least)
			least = img->fds[i].fd;
	}
	return least;
}

void standard_streams(const struct image *img, struct standard_stream list[STANDARD_STREAMS], struct reasons *why)
{
	memset(list, 0, STANDARD_STREAMS * sizeof(*list));
	for (size_t i = 0; i < img->n_kin; i++)
		if (img->kin[i].child)
			reasons_add(why, REASON_IMAGE_STREAMS, NULL, "it had a child, process %lld, which isn't in the file",
				    (long long)img->kin[i].pid);
	for (size_t i = 0; i < img->n_fds; i++) {
		int64_t fd = img->fds[i].fd;
		const struct image_open *o = twin_of(img, &img->fds[i]);
		bool out = o && (o->flags & O_ACCMODE) != O_RDONLY;
		int64_t index = img->fds[i].open;

		if (index >= 0 && (uint64_t)index < img->n_opens && !known(img->opens[index].kind))
			reasons_add(why, REASON_IMAGE_STREAMS, NULL, "descriptor %lld is of a kind (%lld) that can't be had "
				    "again out of a file", (long long)fd, (long long)img->opens[index].kind);
		if (!o || lowest(img, o->stream) < fd)
			continue;
		if (fd < 0 || fd >= STANDARD_STREAMS)
			reasons_add(why, REASON_IMAGE_STREAMS, NULL,
				    "descriptor %lld was a pipe to another process; only standard input, output and "
				    "error can be connected anew", (long long)fd);
		else if (out != (fd > 0) || (o->flags & O_ACCMODE) == O_RDWR)
			reasons_add(why, REASON_IMAGE_STREAMS, NULL,
				    "descriptor %lld was a pipe that the program %s, which can't be connected anew",
				    (long long)fd, fd ? "read" : "wrote to");
		else
			list[fd] = (struct standard_stream){ true, out, o->stream, o->offset };
	}
}
