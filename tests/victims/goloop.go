// SPDX-License-Identifier: MIT

// goloop - a Go program that is moved and judges itself: four goroutines that pass a number
// round, timers, a garbage collector at work; no libc and many threads of the runtime's own.
//
// Same contract as the victims in C: "ready", a counter each 100 ms, and once there is a line on
// standard input, SIGTERM, or VICTIM_SECONDS (60) have passed: "ok" or "FAIL why".
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

const workers = 4

func fail(format string, args ...any) {
	fmt.Printf("FAIL "+format+"\n", args...)
	os.Exit(1)
}

// pass takes numbers from one channel to the next, each one higher, and makes garbage.
func pass(in <-chan uint64, out chan<- uint64, rounds *uint64) {
	var keep [][]byte
	for n := range in {
		keep = append(keep, make([]byte, 4096))
		if len(keep) > 100 {
			keep = keep[50:]
		}
		keep[len(keep)-1][0] = byte(n)
		if keep[len(keep)-1][0] != byte(n) {
			fail("memory")
		}
		atomic.AddUint64(rounds, 1)
		time.Sleep(time.Millisecond)
		out <- n + 1
	}
}

// told is closed when the program shall stop.
func told() <-chan struct{} {
	stop := make(chan struct{})
	seconds, err := strconv.Atoi(os.Getenv("VICTIM_SECONDS"))
	if err != nil {
		seconds = 60
	}
	line := make(chan struct{}, 1)
	go func() {
		if bufio.NewScanner(os.Stdin).Scan() {
			line <- struct{}{}
		}
	}()
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	limit := time.After(time.Duration(seconds) * time.Second)
	go func() {
		select {
		case <-line:
		case <-term:
		case <-limit:
		}
		close(stop)
	}()
	return stop
}

func main() {
	var rounds [workers]uint64
	var ring [workers]chan uint64
	for i := range ring {
		ring[i] = make(chan uint64, 1)
	}
	for i := range ring {
		go pass(ring[i], ring[(i+1)%workers], &rounds[i])
	}
	ring[0] <- 0
	pid := os.Getpid()
	start, last := time.Now(), uint64(0)
	ticker := time.NewTicker(100 * time.Millisecond)
	stop := told()
	fmt.Println("ready")
	moved := time.Now()
	for {
		select {
		case <-stop:
			if time.Since(start) < 0 {
				fail("the clock went back")
			}
			fmt.Println("ok")
			return
		case <-ticker.C:
			n := atomic.LoadUint64(&rounds[workers-1])
			fmt.Println("count", n)
			if n != last {
				last, moved = n, time.Now()
			}
			if time.Since(moved) > 5*time.Second {
				fail("the goroutines stand still at %d", n)
			}
			if os.Getpid() != pid {
				fail("pid %d, was %d", os.Getpid(), pid)
			}
			if n%10 == 0 {
				runtime.GC()
			}
		}
	}
}
