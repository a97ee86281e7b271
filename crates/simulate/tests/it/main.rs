//! Stories of the simulator, told over real connections.

#[cfg(test)]
mod bill;
#[cfg(test)]
mod endpoints;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod shapes;
#[cfg(test)]
mod socket;
#[cfg(test)]
mod socket_client;
