/* SPDX-License-Identifier: MIT */
/*
 * inspect.c - What is in an image's file, for people and for programs
 *
 * Nothing here trusts what the image says of itself: an index that leads nowhere is shown as such.
 */
#include "proxy/daemon/inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/scope.h"
#include "proxy/daemon/show.h"
#include "proxy/image/file_id.h"
#include "proxy/image/saved.h"
#include "proxy/json/json.h"

#define TEXT 4200
#define MIB (1024.0 * 1024.0)

/* ---- for programs ------------------------------------------------------------------------------ */

/* JSON, of which no byte can command a terminal: what isn't printable only stands in strings */
static void print_json(FILE *to, const char *text)
{
	while (*text) {
		size_t len = show_printable((const unsigned char *)text);

		if (len)
			fwrite(text, 1, len, to);
		else
			fprintf(to, "\\u00%02x", (unsigned char)*text);
		text += len ? len : 1;
	}
	fputc('\n', to);
}

static int show_as_json(struct saved *s, FILE *to, struct err *e)
{
	AUTO_FREE char *manifest = image_to_json(saved_image(s));
	const struct saved_head *h = saved_head(s);
	AUTO_JSON json *o = json_object();
	AUTO_FREE char *text = NULL;
	json *image = NULL;
	int rc = manifest ? json_parse(manifest, strlen(manifest), &image, e) : -ENOMEM;

	if (!rc) {
		json_put_str(o, "kind", "image");
		json_put_str(o, "host", h->host);
		json_put_str(o, "version", h->version);
		json_put_int(o, "saved_ns", h->when_ns);
		json_put_int(o, "bytes", (int64_t)saved_size(s));
		json_put_int(o, "pages", (int64_t)saved_page_count(s));
		json_put(o, "image", image);
		text = json_text(o, false);
	}
	if (!text)
		return rc ? rc : err_set(e, -ENOMEM, "show the image");
	print_json(to, text);
	return 0;
}

/* ---- for people --------------------------------------------------------------------------------- */

static void show_head(const struct image *img, const struct saved *s, FILE *to)
{
	char comm[TEXT], host[TEXT], version[TEXT], when[64] = "";
	const struct saved_head *h = saved_head(s);
	struct passwd *pw = getpwuid((uid_t)img->euid);
	time_t t = (time_t)(h->when_ns / NS_PER_S);
	struct tm tm;

	if (gmtime_r(&t, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &tm);
	fprintf(to, "%s, process %" PRId64 ", saved on %s, %s\n", show_harmless(comm, sizeof(comm), img->comm), img->pid,
		show_harmless(host, sizeof(host), h->host), when);
	fprintf(to, "  user         uid %" PRId64 ", gid %" PRId64 "%s%s%s\n", img->euid, img->egid, pw ? " (" : "",
		pw ? pw->pw_name : "", pw ? " here)" : "");
	fprintf(to, "  program      %s\n", show_harmless(comm, sizeof(comm), img->exe));
	fprintf(to, "  directory    %s\n", show_harmless(comm, sizeof(comm), img->cwd));
	fprintf(to, "  file         %" PRIu64 " bytes, whole, by version %s\n", saved_size(s),
		show_harmless(version, sizeof(version), h->version));
}

static void show_memory(const struct image *img, const struct saved *s, FILE *to)
{
	static const struct {
		enum vma_kind kind;
		const char *name;
	} rows[] = {
		{ VMA_ANON, "of its own" }, { VMA_FILE, "of files" }, { VMA_OBJECT, "shared or of memfds" },
	};
	uint64_t pages = saved_page_count(s);

	fprintf(to, "  memory       %" PRIu64 " pages (%.1f MiB) in the file; areas:", pages, (double)pages * 4096 / MIB);
	for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
		uint64_t size = 0;
		size_t n = 0;

		for (size_t i = 0; i < img->n_vmas; i++)
			if (img->vmas[i].kind == (int64_t)rows[k].kind) {
				size += img->vmas[i].end - img->vmas[i].start;
				n++;
			}
		fprintf(to, "%s %zu %s (%.1f MiB)", k ? "," : "", n, rows[k].name, (double)size / MIB);
	}
	fputc('\n', to);
}

static void show_files(const struct image *img, FILE *to)
{
	char path[TEXT], what[256];

	fprintf(to, "  files        %zu, which must be the same where it goes on\n", img->n_files);
	for (size_t i = 0; i < img->n_files; i++) {
		const struct image_file *f = &img->files[i];

		show_harmless(path, sizeof(path), f->path);
		if (f->sha256 && *f->sha256) {
			char described[128];

			show_harmless(what, sizeof(what), file_describe(f, described, sizeof(described)));
			fprintf(to, "    %s%s  %s\n", path, f->written ? " (written to)" : "", what);
		} else {
			fprintf(to, "    %s%s\n", path, f->written ? " (written to)" : "");
		}
	}
}

static const char *kind_name(int64_t kind)
{
	static const char *const names[] = {
		[OPEN_FILE] = "file",	      [OPEN_PIPE] = "pipe within the program", [OPEN_TWIN] = "pipe to another process",
		[OPEN_EVENTFD] = "eventfd",   [OPEN_TIMERFD] = "timerfd",	       [OPEN_SIGNALFD] = "signalfd",
		[OPEN_EPOLL] = "epoll set",   [OPEN_MEMFD] = "memfd",		       [OPEN_INOTIFY] = "inotify",
	};

	return kind > 0 && (uint64_t)kind < ARRAY_SIZE(names) && names[kind] ? names[kind] : "?";
}

static void show_descriptors(const struct image *img, FILE *to)
{
	static const char *const modes[] = { "read", "write", "read and write", "path only" };
	char path[TEXT];

	fprintf(to, "  descriptors  %zu\n", img->n_fds);
	for (size_t i = 0; i < img->n_fds; i++) {
		const struct image_fd *f = &img->fds[i];
		const struct image_open *o = f->open >= 0 && (uint64_t)f->open < img->n_opens ? &img->opens[f->open] : NULL;

		if (!o) {
			fprintf(to, "    %3" PRId64 "  leads nowhere\n", f->fd);
			continue;
		}
		fprintf(to, "    %3" PRId64 "  %s, %s", f->fd, kind_name(o->kind), modes[o->flags & O_ACCMODE]);
		if (o->kind == OPEN_FILE)
			fprintf(to, ", %s at %" PRIu64, show_harmless(path, sizeof(path), o->path), o->position);
		if (o->kind == OPEN_PIPE && o->file >= 0 && (uint64_t)o->file < img->n_pipes)
			fprintf(to, ", %zu bytes in it", img->pipes[o->file].content.len);
		fputc('\n', to);
	}
}

static void show_threads(const struct image *img, FILE *to)
{
	size_t waiting = img->n_pending;
	char comm[TEXT];

	fprintf(to, "  threads      %zu:", img->n_threads);
	for (size_t i = 0; i < img->n_threads; i++) {
		waiting += img->threads[i].n_pending;
		fprintf(to, " %" PRId64 " (%s)", img->threads[i].tid,
			show_harmless(comm, sizeof(comm), img->threads[i].comm));
	}
	fprintf(to, "\n  signals      %zu handled or ignored, %zu waiting; %zu timers\n", img->n_sigactions, waiting,
		img->n_timers + img->n_itimers);
}

static void show_for_people(struct saved *s, FILE *to)
{
	const struct image *img = saved_image(s);

	show_head(img, s, to);
	show_memory(img, s, to);
	show_threads(img, to);
	show_descriptors(img, to);
	show_files(img, to);
}

int inspect_file(const char *path, bool as_json, FILE *to, struct err *e)
{
	AUTO_FD int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	AUTO_SAVED struct saved *s = NULL;
	struct saved_pages m;
	int rc;

	if (fd < 0)
		return err_set(e, -errno, "open %s", path);
	rc = saved_open(fd, &s, e);
	while (!rc && (rc = saved_next(s, &m, e)) == 1)
		rc = 0;
	if (rc)
		return err_wrap(e, rc, "%s", path);
	if (as_json)
		return show_as_json(s, to, e);
	show_for_people(s, to);
	return 0;
}
