// Locking and unlocking a mutex that nobody else wants, and one that two goroutines want; a channel
// as a semaphore. There is no guard but defer.
package main

import "sync"

func lock(rounds int) {
	var mutex sync.Mutex
	for i := 0; i < rounds; i++ {
		mutex.Lock()
		mutex.Unlock()
	}
}

func guarded(mutex *sync.Mutex) {
	mutex.Lock()
	defer mutex.Unlock()
}

func guard(rounds int) {
	var mutex sync.Mutex
	for i := 0; i < rounds; i++ {
		guarded(&mutex)
	}
}

func acquire(rounds int) {
	slots := make(chan struct{}, 1)
	for i := 0; i < rounds; i++ {
		slots <- struct{}{}
		<-slots
	}
}

// Half of the rounds in each of two goroutines.
func contend(rounds int) {
	var mutex sync.Mutex
	var group sync.WaitGroup
	for i := 0; i < 2; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := 0; i < rounds/2; i++ {
				mutex.Lock()
				mutex.Unlock()
			}
		}()
	}
	group.Wait()
}

func main() {
	n := arg(1, 1000000)
	report("mutex", measure(n, lock)*1e9, "ns")
	report("mutex/guard", measure(n, guard)*1e9, "ns")
	report("mutex/contended", measure(n, contend)*1e9, "ns")
	report("mutex/semaphore", measure(n, acquire)*1e9, "ns")
}
