"""Data"""
import torch
def load_digits():
    from sklearn.datasets import load_digits as load
    d=load(); return torch.tensor(d.images,dtype=torch.float32)[:,None]/8-1, torch.tensor(d.target)
