"""Qualcomm QNN: context binaries read back by Qualcomm's system library, and the HTP simulator.

All of it that touches a file or a library of Qualcomm runs in child processes.
"""
